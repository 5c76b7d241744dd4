/**
 * Cheetah as the command runs it, that answers the bench's questions.
 *
 *     node cheetah-server.js DIRECTORY DEVICE ADDRESS HOST_ADDRESS
 */
import { Cheetah } from '../src/servers/cheetah/cheetah.ts';
import { TcpTransport } from '../src/servers/http/tcp-transport.ts';
import { answerBench } from './control.ts';
import { hostWork, openAgedHost } from './host.ts';

const PORT = 80;

const [directory = '', ...network] = process.argv.slice(2);
const host = openAgedHost('cheetah', network);
const { arena, stack, tcp } = host;
const server = new Cheetah({
  root: directory,
  tcp: new TcpTransport(tcp),
  arena,
  bytes: arena.bytes,
  clock: stack.clock,
  timers: stack.timers,
  log: stack.log,
  wake: () => stack.wake(),
  port: PORT,
});
server.start();
host.start();
answerBench({ work: () => hostWork(host, server.counters.get('requests')) });
