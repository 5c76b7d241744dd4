/** Every state x every kind of segment x where its numbers lie: what the host answers, and what has become of the connection. */
import type { Crafted } from '../support/raw-peer.ts';
import type { Actor } from './actor.ts';
import type { Scenario } from './compare.ts';
import { ALL_OPTIONS, PLAIN, STATES, type StateSetUp } from './states.ts';

interface Kind {
  readonly flags: string;
  readonly bytes: number;
}

const KINDS: readonly Kind[] = [
  { flags: 'S', bytes: 0 },
  { flags: 'SA', bytes: 0 },
  { flags: 'SF', bytes: 0 },
  { flags: 'A', bytes: 0 },
  { flags: 'A', bytes: 10 },
  { flags: 'R', bytes: 0 },
  { flags: 'RA', bytes: 0 },
  { flags: 'F', bytes: 0 },
  { flags: 'FA', bytes: 0 },
  { flags: 'FA', bytes: 10 },
  { flags: '', bytes: 10 },
];

/** From SND.NXT of the peer. */
const SEQUENCES: readonly (readonly [name: string, offset: number])[] = [
  ['next', 0],
  ['inside', 50],
  ['just before', -1],
  ['before', -50],
  ['beyond', 100_000],
];

/** From SND.UNA of the host; `all` is everything it has sent. */
const ACKNOWLEDGMENTS: readonly (readonly [name: string, offset: number | 'all'])[] = [
  ['all', 'all'],
  ['nothing new', 0],
  ['old', -50],
  ['very old', -200_000],
  ['future', 50],
];

/** Numbers near where they wrap come as often as others. */
const ISSES = [1_000_000, -30, 0x7fffffe0, -0x80000010];

/** All of it. */
export function matrix(): Scenario[] {
  const scenarios: Scenario[] = [];
  for (const state of STATES) {
    for (const [withOptions, syn] of [PLAIN, ALL_OPTIONS].entries()) {
      if (state.name === 'CLOSED' && withOptions === 1) continue;
      for (const kind of KINDS) addPlaces(scenarios, state, withOptions === 1, syn, kind);
    }
  }
  return scenarios;
}

function addPlaces(into: Scenario[], state: StateSetUp, withOptions: boolean, syn: Crafted, kind: Kind): void {
  const hasAck = kind.flags.includes('A');
  for (const [seqName, seqOffset] of SEQUENCES) {
    for (const [ackName, ackOffset] of hasAck ? ACKNOWLEDGMENTS : ACKNOWLEDGMENTS.slice(0, 1)) {
      // The same thing twice.
      if (ackOffset === 0 && state.unacknowledged === 0) continue;
      const what = `${kind.flags || 'no flags'}${kind.bytes > 0 ? ` with ${kind.bytes} bytes` : ''}`;
      const name = `${state.name}${withOptions ? ' with options' : ''}: ${what}, seq ${seqName}${hasAck ? `, ack ${ackName}` : ''}`;
      const iss = ISSES[into.length % ISSES.length] as number;
      into.push({
        name,
        iss,
        run: async (actor) => {
          await state.reach(actor, syn);
          await inject(actor, state, kind, seqOffset, ackOffset);
        },
      });
    }
  }
}

async function inject(
  actor: Actor,
  state: StateSetUp,
  { flags, bytes }: Kind,
  seqOffset: number,
  ackOffset: number | 'all',
): Promise<void> {
  const { peer } = actor;
  const { sndNxt, rcvNxt } = peer;
  const ack = ackOffset === 'all' ? rcvNxt : rcvNxt - state.unacknowledged + ackOffset;
  const options = flags.includes('S') ? { mss: 1460 } : {};
  actor.segment({ flags, seq: sndNxt + seqOffset, ack, data: bytes, ...options });
  await actor.hear();
  await actor.inspect('c');
  // What does the host think now? An octet from before says it, or a reset.
  actor.segment({ seq: sndNxt - 1, ack: peer.rcvNxt, data: 1 });
  await actor.hear();
  await actor.inspect('c');
}
