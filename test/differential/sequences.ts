/** Seeded sequences of segments and calls on a connection: reassembly, selective acknowledgment, windows, PAWS, orders of closing. */
import { SeededRandom } from '../../src/runtime/random.ts';
import type { Crafted, RawPeer } from '../support/raw-peer.ts';
import type { Actor } from './actor.ts';
import type { Scenario } from './compare.ts';
import { ALL_OPTIONS, established, establishedActively, PLAIN } from './states.ts';

const SYNS: readonly (readonly [name: string, syn: Crafted])[] = [
  ['plain', PLAIN],
  ['SACK', { sackPermitted: true }],
  ['all options', ALL_OPTIONS],
];
/** Less than any timer. */
const SHORT_MS = 60;
const SHUT_RD = 0;
const SHUT_WR = 1;
const SHUT_RDWR = 2;

/** So many of each. */
export function sequences(seed: number, count: number): Scenario[] {
  const scenarios: Scenario[] = [];
  for (let i = 0; i < count; i++) {
    const [synName, syn] = SYNS[i % SYNS.length] as (typeof SYNS)[number];
    const name = `${synName}, seed ${seed + i}`;
    const iss = new SeededRandom(seed + i).i32();
    scenarios.push(
      { name: `reassembly: ${name}`, iss, run: (actor) => reassemble(actor, syn, new SeededRandom(seed + i)) },
      { name: `closing: ${name}`, iss, run: (actor) => closeSomehow(actor, syn, new SeededRandom(seed + i)) },
      {
        name: `sending: ${name}`,
        iss,
        run: (actor) => sendAndAcknowledge(actor, withoutSack(syn), new SeededRandom(seed + i)),
      },
    );
    if (syn === ALL_OPTIONS) {
      scenarios.push({
        name: `PAWS: ${name}`,
        iss,
        run: (actor) => oldTimestamps(actor, syn, new SeededRandom(seed + i)),
      });
    }
  }
  return scenarios;
}

/** Without SACK no tail loss probe leaves. */
function withoutSack({ sackPermitted: _sackPermitted, ...rest }: Crafted): Crafted {
  return rest;
}

async function connected(actor: Actor, syn: Crafted, random: SeededRandom): Promise<void> {
  if (random.below(2) === 0) await established(actor, syn);
  else await establishedActively(actor, syn);
}

/** Pieces of a stretch of 800 bytes in any order, some of them again; at the end all of it. */
async function reassemble(actor: Actor, syn: Crafted, random: SeededRandom): Promise<void> {
  await established(actor, syn);
  const from = actor.peer.sndNxt;
  const stretch = 800;
  const withFin = random.below(3) === 0;
  for (let step = 0; step < 8; step++) {
    const at = 100 * random.below(stretch / 100);
    const length = Math.min(stretch - at, 100 * (1 + random.below(6)));
    const shift = random.below(8) === 0 ? 50 : 0;
    const fin = withFin && at + length - shift === stretch;
    actor.segment({ flags: fin ? 'FA' : 'A', seq: from + at - shift, data: length });
    await actor.hear();
  }
  for (let at = 0; at < stretch; at += 400) actor.segment({ seq: from + at, data: 400 });
  await actor.hear();
  if (withFin) actor.segment({ flags: 'FA', seq: from + stretch });
  await actor.hear();
  await actor.inspect('c');
}

/** Calls and segments that end a connection, in any order, with text between. */
async function closeSomehow(actor: Actor, syn: Crafted, random: SeededRandom): Promise<void> {
  await connected(actor, syn, random);
  const { peer } = actor;
  let isOpen = true;
  for (let step = 0; step < 7; step++) {
    switch (random.below(isOpen ? 11 : 5)) {
      case 0:
        actor.segment({ flags: 'FA' });
        break;
      case 1:
        actor.segment();
        break;
      case 2:
        actor.segment({ data: 50 });
        break;
      case 3:
        actor.segment({ flags: 'FA', data: 50, ack: peer.rcvNxt - random.below(2) });
        break;
      case 4:
        actor.segment({ flags: 'FA', seq: peer.sndNxt - random.below(2), ack: peer.rcvNxt - random.below(2) });
        break;
      case 5:
        await actor.call('shutdown', 'c', SHUT_WR);
        break;
      case 6:
        await actor.call('shutdown', 'c', [SHUT_RD, SHUT_RDWR][random.below(2)] as number);
        break;
      case 7:
        await actor.send('c', 60);
        break;
      case 8:
        await actor.inspect('c');
        break;
      case 9:
        if (random.below(2) === 0) await actor.call('setsockopt', 'c', 1, 13, '0100000000000000');
        break;
      default:
        await actor.close('c');
        isOpen = false;
    }
    await actor.hear();
    if (isOpen) await actor.inspect('c');
  }
}

/**
 * The host sends into windows of several sizes; the peer acknowledges a part, then all of it. Whatever waits for a timer is let go before
 * one can expire.
 */
async function sendAndAcknowledge(actor: Actor, syn: Crafted, random: SeededRandom): Promise<void> {
  await connected(actor, syn, random);
  const { peer } = actor;
  const scale = syn.windowScale ?? 0;
  for (let step = 0; step < 4; step++) {
    const window = ([0, 1500, 4000, 65_535][random.below(4)] as number) >> scale;
    const una = peer.rcvNxt;
    actor.segment({ window });
    await actor.hear(SHORT_MS);
    for (let sends = 1 + random.below(2); sends > 0; sends--) {
      await actor.send('c', [1, 100, 1460, 3000, 5000][random.below(5)] as number);
    }
    await actor.hear(SHORT_MS);
    if (random.below(2) === 0) {
      actor.segment({ ack: middleOf(peer, una), window });
      await actor.hear(SHORT_MS);
    }
    for (let rounds = 0; rounds < 4; rounds++) {
      actor.segment({ window: 65_535 >> scale });
      await actor.hear(SHORT_MS);
    }
  }
}

/** The end of a segment in the middle of what is not acknowledged. */
function middleOf(peer: RawPeer, una: number): number {
  const ends = peer.log.filter(({ length }) => length > 0).map(({ seq, length }) => seq + length);
  const later = [...new Set(ends)].filter((end) => end > una).sort((a, b) => a - b);
  return later[Math.floor((later.length - 1) / 2)] ?? una;
}

/** Timestamps that go back, forth and missing. */
async function oldTimestamps(actor: Actor, syn: Crafted, random: SeededRandom): Promise<void> {
  await established(actor, syn);
  const { peer } = actor;
  for (let step = 0; step < 6; step++) {
    const age = [0, -1, -5000, 1, 5000, 2 ** 31 - 1][random.below(6)] as number;
    const value = (actor.lastTsValue + age) | 0;
    const stamped: Crafted = { timestamps: random.below(6) === 0 ? null : [value, peer.lastTsValue] };
    const { sndNxt } = peer;
    switch (random.below(5)) {
      case 0:
        actor.segment({ ...stamped, data: 10 });
        break;
      case 1:
        actor.segment({ ...stamped });
        break;
      case 2:
        actor.segment({ ...stamped, seq: sndNxt + 20, data: 10 });
        break;
      case 3:
        actor.segment({ ...stamped, flags: 'S' });
        break;
      default:
        actor.segment({ ...stamped, seq: sndNxt - 10, data: 10 });
    }
    peer.sndNxt = sndNxt;
    await actor.hear();
    actor.segment();
    await actor.hear();
  }
  await actor.inspect('c');
}
