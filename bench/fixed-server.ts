/**
 * One reply for whatever is asked, over the whole stack but without HTTP: what lies between it and Cheetah is HTTP, what lies
 * between it and the ceiling is the stack.
 *
 *     node fixed-server.js DIRECTORY DEVICE ADDRESS HOST_ADDRESS
 */
import { close, consume, readableBytes, send, takeEvents } from '../src/tcp/calls.ts';
import { EVENT_CLOSED, EVENT_PEER_CLOSED, EVENT_READABLE, type Tcb, type TcpUser } from '../src/tcp/tcb.ts';
import { type CannedReply, canReplies, replyNamed } from './canned.ts';
import { answerBench } from './control.ts';
import { hostWork, openAgedHost } from './host.ts';

const PORT = 80;

const [directory = '', ...network] = process.argv.slice(2);
const host = openAgedHost('fixed', network);
const replies = canReplies(host.arena, directory);
let reply: CannedReply = { at: 0, bytes: 0, closes: false };
let requests = 0;

const user: TcpUser = {
  ready(connection: Tcb): void {
    const events = takeEvents(connection);
    if ((events & EVENT_CLOSED) !== 0) return;
    if ((events & EVENT_READABLE) !== 0) {
      consume(connection, readableBytes(connection));
      requests++;
      send(connection, reply.at, reply.bytes, null, 0);
      if (reply.closes) close(connection);
    }
    if ((events & EVENT_PEER_CLOSED) !== 0) close(connection);
  },
};

host.tcp.listen(PORT, () => user);
host.start();
answerBench({
  work: () => hostWork(host, requests),
  select: (name, closes) => {
    reply = replyNamed(replies, name, closes);
  },
});
