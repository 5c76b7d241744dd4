/**
 * `make bench-idle`: what an established connection on which nothing happens costs, in JavaScript's heap, in typed arrays and in
 * the arena. Across a simulated link a host has a hundred thousand connections with a peer that keeps nothing about them, so
 * that all the memory is one end's: first the end that was connected to, then the end that connected.
 *
 * The application's own objects are not counted: all connections share one. Tables that exist before the first connection are
 * not either; what they grow to is.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { parseArguments, readInteger } from '../../src/cli/arguments.ts';
import { consume, readableBytes, send, takeEvents } from '../../src/tcp/calls.ts';
import { seqBits } from '../../src/tcp/sequence.ts';
import { EVENT_CONNECTED, EVENT_READABLE, type Tcb, type TcpUser } from '../../src/tcp/tcb.ts';
import { fail } from '../fail.ts';
import { PEER, Rig } from './rig.ts';

const HELP = `make bench-idle [ARGS='...']   or   node build/bench/stack/idle.js [options]

Measures the memory of established connections on which nothing happens.

  --connections N  how many (default 100000)`;

/** The bar of the project. */
const LIMIT_BYTES = 1500;
const PORTS = 20_000;
const FIRST_PORT = 20_000;
/** Opened before the clock moves on, fewer than a listener's backlog. */
const AT_ONCE = 100;
const ROUND_US = 10_000;
const TEXT_BYTES = 100;
const SETTLE_US = 5_000_000;

/** The application: takes whatever comes; with `answers` it answers it. */
class Idle implements TcpUser {
  connected = 0;
  answered = 0;
  private readonly answerAt: number;

  constructor(answerAt: number) {
    this.answerAt = answerAt;
  }

  ready(connection: Tcb): void {
    const events = takeEvents(connection);
    if ((events & EVENT_CONNECTED) !== 0) this.connected++;
    if ((events & EVENT_READABLE) === 0) return;
    consume(connection, readableBytes(connection));
    send(connection, this.answerAt, TEXT_BYTES, null, 0);
    this.answered++;
  }
}

interface Used {
  readonly heap: number;
  readonly arrays: number;
  readonly arena: number;
}

function readMemory(collect: () => void, rig: Rig): Used {
  collect();
  collect();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  const { receiveMemory } = rig.host.tcp;
  const arena = rig.arena.usedBytes - receiveMemory.capacityBytes + receiveMemory.usedBytes;
  return { heap: heapUsed, arrays: arrayBuffers, arena };
}

/** Prints what the host uses more than `before` for each connection, and returns it. */
function report(what: string, before: Used, now: Used, connections: number): number {
  const heap = (now.heap - before.heap) / connections;
  const arrays = (now.arrays - before.arrays) / connections;
  const arena = (now.arena - before.arena) / connections;
  const total = heap + arrays + arena;
  const parts = `heap ${heap.toFixed(0)}, typed arrays ${arrays.toFixed(0)}, arena ${arena.toFixed(0)}`;
  console.log(`${what.padEnd(34)} ${total.toFixed(0).padStart(5)} bytes a connection (${parts})`);
  return total;
}

function connectAll(rig: Rig, user: Idle, connections: number, open: (index: number) => void): void {
  for (let index = 0; index < connections; index++) {
    open(index);
    if ((index + 1) % AT_ONCE === 0) {
      rig.host.stack.wake();
      rig.advance(ROUND_US);
    }
  }
  rig.host.stack.wake();
  rig.advance(SETTLE_US);
  const { connected } = user;
  if (connected !== connections) throw new Error(`${connected} of ${connections} connections were established`);
}

function main(args: readonly string[]): void {
  const values = parseArguments(args, { connections: { type: 'string' }, help: { type: 'boolean' } });
  if (values.help === true) {
    console.log(HELP);
    return;
  }
  const connections = readInteger('connections', values.connections ?? '100000', 1, 1_000_000);
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const totals: number[] = [];

  const passive = new Rig({ maxConnections: connections });
  const passiveUser = new Idle(passive.arena.allocate(TEXT_BYTES));
  for (let port = 1; port <= Math.ceil(connections / PORTS); port++) passive.host.tcp.listen(port, () => passiveUser);
  const before = readMemory(collect, passive);
  connectAll(passive, passiveUser, connections, (index) => {
    passive.peer.open(FIRST_PORT + (index % PORTS), 1 + Math.floor(index / PORTS));
  });
  totals.push(report('accepted, nothing sent:', before, readMemory(collect, passive), connections));
  for (let index = 0; index < connections; index++) {
    const tcb = passive.host.tcp.connection(index);
    const stamp = tcb.tcp.timestamp(tcb.tsOffset);
    passive.peer.sendText(tcb.remotePort, tcb.localPort, seqBits(tcb.iss), stamp, TEXT_BYTES);
    if ((index + 1) % AT_ONCE === 0) passive.advance(ROUND_US);
  }
  passive.advance(SETTLE_US);
  const { answered } = passiveUser;
  if (answered !== connections) throw new Error(`${answered} of ${connections} requests were answered`);
  totals.push(report('accepted, a request answered:', before, readMemory(collect, passive), connections));
  passive.host.stack.close();
  passive.arena.close();

  const active = new Rig({ maxConnections: connections });
  const activeUser = new Idle(active.arena.allocate(TEXT_BYTES));
  const beforeActive = readMemory(collect, active);
  connectAll(active, activeUser, connections, (index) => {
    if (active.host.tcp.connect(PEER, 1 + Math.floor(index / PORTS), activeUser) === null) {
      throw new Error(`no connection ${index}`);
    }
  });
  totals.push(report('opened, nothing sent:', beforeActive, readMemory(collect, active), connections));
  const worst = Math.max(...totals);
  console.log(`The bar is ${LIMIT_BYTES} bytes: ${worst <= LIMIT_BYTES ? 'met' : 'missed'}.`);
}

try {
  main(process.argv.slice(2));
} catch (error) {
  fail('bench-idle', error);
}
