/** How a connection is brought into each state of RFC 9293 section 3.3.2, by calls and segments alike on both hosts. */
import type { Crafted } from '../support/raw-peer.ts';
import type { Actor } from './actor.ts';

const SHUT_WR = 1;
const TRANSFER_BYTES = 100;

/** What the peer's SYN offers. */
export const PLAIN: Crafted = {};
export const ALL_OPTIONS: Crafted = { sackPermitted: true, timestamps: [1000, 0], windowScale: 7 };

export interface StateSetUp {
  readonly name: string;
  /** Sequence numbers that the host has sent and the peer has not acknowledged. */
  readonly unacknowledged: number;
  reach(actor: Actor, syn: Crafted): Promise<void>;
}

export async function synReceived(actor: Actor, syn: Crafted): Promise<void> {
  await actor.listen('l');
  await actor.sayHello(syn);
}

/** Accepted, with something transferred both ways: old numbers are there to be used. */
export async function established(actor: Actor, syn: Crafted): Promise<void> {
  await synReceived(actor, syn);
  actor.segment();
  await actor.accept('l', 'c');
  await transfer(actor);
}

export async function synSent(actor: Actor): Promise<void> {
  await actor.connect('c');
  await actor.hearOne();
}

export async function establishedActively(actor: Actor, syn: Crafted): Promise<void> {
  await synSent(actor);
  if (syn.timestamps !== undefined) actor.peer.timestamps = true;
  const timestamps: readonly [number, number] = [1000, actor.peer.lastTsValue];
  actor.segment({ flags: 'SA', mss: 1460, ...syn, ...(syn.timestamps === undefined ? {} : { timestamps }) });
  await actor.hear();
  await transfer(actor);
}

async function transfer(actor: Actor): Promise<void> {
  actor.segment({ data: TRANSFER_BYTES });
  await actor.hear();
  await actor.inspect('c');
  await actor.send('c', TRANSFER_BYTES);
  await actor.hearOne();
  actor.segment();
  await actor.hear();
}

/** The application closes its half, or everything. */
async function finish(actor: Actor, isOrphan: boolean): Promise<void> {
  if (isOrphan) await actor.close('c');
  else await actor.call('shutdown', 'c', SHUT_WR);
  await actor.hear();
}

function finWait1(isOrphan: boolean) {
  return async (actor: Actor, syn: Crafted): Promise<void> => {
    await established(actor, syn);
    await finish(actor, isOrphan);
  };
}

function finWait2(isOrphan: boolean) {
  return async (actor: Actor, syn: Crafted): Promise<void> => {
    await finWait1(isOrphan)(actor, syn);
    actor.segment();
    await actor.hear();
  };
}

async function closeWait(actor: Actor, syn: Crafted): Promise<void> {
  await established(actor, syn);
  actor.segment({ flags: 'FA' });
  await actor.hear();
}

function closing(isOrphan: boolean) {
  return async (actor: Actor, syn: Crafted): Promise<void> => {
    await finWait1(isOrphan)(actor, syn);
    actor.segment({ flags: 'FA', ack: actor.peer.rcvNxt - 1 });
    await actor.hear();
  };
}

function lastAck(isOrphan: boolean) {
  return async (actor: Actor, syn: Crafted): Promise<void> => {
    await closeWait(actor, syn);
    await finish(actor, isOrphan);
  };
}

function timeWait(isOrphan: boolean) {
  return async (actor: Actor, syn: Crafted): Promise<void> => {
    await finWait2(isOrphan)(actor, syn);
    actor.segment({ flags: 'FA' });
    await actor.hear();
  };
}

async function timeWaitFromClosing(actor: Actor, syn: Crafted): Promise<void> {
  await closing(false)(actor, syn);
  actor.segment();
  await actor.hear();
}

async function simultaneousOpen(actor: Actor, syn: Crafted): Promise<void> {
  await synSent(actor);
  await actor.sayHello(syn);
}

export const STATES: readonly StateSetUp[] = [
  { name: 'CLOSED', unacknowledged: 0, reach: async () => {} },
  { name: 'LISTEN', unacknowledged: 0, reach: (actor) => actor.listen('l') },
  { name: 'SYN-SENT', unacknowledged: 1, reach: synSent },
  { name: 'SYN-RECEIVED', unacknowledged: 1, reach: synReceived },
  { name: 'SYN-RECEIVED at once', unacknowledged: 1, reach: simultaneousOpen },
  { name: 'ESTABLISHED', unacknowledged: 0, reach: established },
  { name: 'ESTABLISHED actively', unacknowledged: 0, reach: establishedActively },
  { name: 'FIN-WAIT-1', unacknowledged: 1, reach: finWait1(false) },
  { name: 'FIN-WAIT-1 orphan', unacknowledged: 1, reach: finWait1(true) },
  { name: 'FIN-WAIT-2', unacknowledged: 0, reach: finWait2(false) },
  { name: 'FIN-WAIT-2 orphan', unacknowledged: 0, reach: finWait2(true) },
  { name: 'CLOSE-WAIT', unacknowledged: 0, reach: closeWait },
  { name: 'CLOSING', unacknowledged: 1, reach: closing(false) },
  { name: 'CLOSING orphan', unacknowledged: 1, reach: closing(true) },
  { name: 'LAST-ACK', unacknowledged: 1, reach: lastAck(false) },
  { name: 'LAST-ACK orphan', unacknowledged: 1, reach: lastAck(true) },
  { name: 'TIME-WAIT', unacknowledged: 0, reach: timeWait(false) },
  { name: 'TIME-WAIT orphan', unacknowledged: 0, reach: timeWait(true) },
  { name: 'TIME-WAIT from CLOSING', unacknowledged: 0, reach: timeWaitFromClosing },
];
