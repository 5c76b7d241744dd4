/**
 * The ends of bench/loss.ts. Two senders, which send whoever connects as much as they can; and what receives from them.
 *
 *     node loss-end.js kernel ADDRESS
 *     node loss-end.js stack INTERFACE ADDRESS CONTROL     # over a packet socket
 *     node loss-end.js receive ADDRESS BYTES SECONDS       # prints bits a second
 */
import { connect, createServer, type Socket } from 'node:net';
import { openHost } from '../src/host/open.ts';
import { abort, queuedBytes, send, takeEvents } from '../src/tcp/calls.ts';
import type { CongestionControlName } from '../src/tcp/congestion/controls.ts';
import { EVENT_CLOSED, EVENT_PEER_CLOSED, type Tcb } from '../src/tcp/tcb.ts';
import { answerBench, type Work } from './control.ts';

const PORT = 5001;
const REGION_BYTES = 256 * 1024;
const QUEUED_BYTES = 8 * 1024 * 1024;
/** The bench asks only whether it serves. */
const UNCOUNTED: Work = {
  requests: 0,
  framesIn: 0,
  framesOut: 0,
  receiveCalls: 0,
  transmitCalls: 0,
  turns: 0,
  summedBytes: 0,
  copiedBytes: 0,
};
const serve = (): void => answerBench({ work: () => UNCOUNTED });

function sendFromKernel(address: string): void {
  const text = Buffer.alloc(REGION_BYTES);
  const fill = (socket: Socket): void => {
    while (!socket.destroyed && socket.write(text));
  };
  const server = createServer((socket) => {
    socket.on('error', () => socket.destroy());
    socket.on('drain', () => fill(socket));
    fill(socket);
  });
  server.listen(PORT, address, serve);
}

function sendFromStack(interfaceName: string, address: string, congestion: CongestionControlName): void {
  const host = openHost('loss', { device: `packet:${interfaceName}`, address, offload: false }, { congestion });
  const text = host.arena.allocate(REGION_BYTES);
  const ready = (connection: Tcb): void => {
    const events = takeEvents(connection);
    if ((events & EVENT_CLOSED) !== 0) return;
    if ((events & EVENT_PEER_CLOSED) !== 0) {
      abort(connection);
      return;
    }
    while (queuedBytes(connection) + REGION_BYTES <= QUEUED_BYTES) send(connection, text, REGION_BYTES, null, 0);
  };
  host.tcp.listen(PORT, () => ({ ready }));
  host.start();
  serve();
}

function receive(address: string, wantedBytes: number, seconds: number): void {
  const beganMs = performance.now();
  let bytes = 0;
  const socket = connect(PORT, address);
  const end = (): void => {
    console.log((8000 * bytes) / (performance.now() - beganMs));
    process.exit();
  };
  socket.on('data', (chunk) => {
    bytes += chunk.length;
    if (bytes >= wantedBytes) end();
  });
  socket.on('error', (error) => {
    throw error;
  });
  setTimeout(end, 1000 * seconds);
}

const [role = '', first = '', second = '', third = ''] = process.argv.slice(2);
if (role === 'kernel') sendFromKernel(first);
else if (role === 'stack') sendFromStack(first, second, third as CongestionControlName);
else receive(first, Number(second), Number(third));
