/** Runs a cell of the goodput table: streams of known text from one host to the other, looked at byte by byte as they arrive. */
import {
  abort,
  consume,
  queuedBytes,
  readableAt,
  readableBytes,
  readableLength,
  send,
  takeEvents,
} from '../../src/tcp/calls.ts';
import { EVENT_CLOSED, EVENT_CONNECTED, type Tcb, type TcpUser } from '../../src/tcp/tcb.ts';
import { type Scenario, SECOND } from '../simulation/goodput-scenarios.ts';
import { findLeaks } from './leaks.ts';
import { ADDRESS_B, World } from './world.ts';

const REGION_BYTES = 256 * 1024;
const QUEUED_BYTES = 64 * 1024 * 1024;
const PORT = 5001;
/** Longer than any time-out of a path that carries something now and then. */
const STALL_US = 60 * SECOND;
const EVERYTHING_OVER_US = 4000 * SECOND;

export interface CellResult {
  readonly bitsPerSecond: number;
  readonly segments: number;
  readonly retransmitted: number;
  readonly timeouts: number;
  /** Jain's index of what the streams got, in the second half of the time. */
  readonly fairness: number;
  /** What is wrong; nothing should be. */
  readonly complaints: readonly string[];
}

class KnownStream implements TcpUser {
  receivedBytes = 0;
  halfwayBytes = 0;
  wrongAt = -1;
  error = '';
  connection: Tcb | null = null;
  private readonly world: World;
  private readonly at: number;

  constructor(world: World, at: number, port: number) {
    this.world = world;
    this.at = at;
    world.b.tcp.listen(port, () => ({ ready: (connection: Tcb) => this.read(connection) }));
    this.connection = world.a.tcp.connect(ADDRESS_B, port, this);
    world.a.stack.wake();
  }

  ready(connection: Tcb): void {
    const events = takeEvents(connection);
    if ((events & EVENT_CLOSED) !== 0) {
      this.error = connection.error;
      this.connection = null;
      return;
    }
    if ((events & EVENT_CONNECTED) !== 0) this.connection = connection;
    while (queuedBytes(connection) + REGION_BYTES <= QUEUED_BYTES) send(connection, this.at, REGION_BYTES, null, 0);
  }

  private read(connection: Tcb): void {
    if ((takeEvents(connection) & EVENT_CLOSED) !== 0) return;
    const { bytes } = this.world.arena;
    while (readableBytes(connection) > 0) {
      const at = readableAt(connection);
      const offset = this.receivedBytes % REGION_BYTES;
      const length = Math.min(readableLength(connection), REGION_BYTES - offset);
      const expected = bytes.subarray(this.at + offset, this.at + offset + length);
      if (this.wrongAt < 0 && Buffer.compare(bytes.subarray(at, at + length), expected) !== 0) {
        this.wrongAt = this.receivedBytes;
      }
      this.receivedBytes += length;
      consume(connection, length);
    }
  }
}

export function runCell(scenario: Scenario, seed: number): CellResult {
  const { rttUs, bitsPerSecond, loss, ackLoss, reordering, duplication, queueBytes, bytes, limitUs } = scenario;
  const wire = { delayUs: rttUs / 2, bitsPerSecond, queueFrames: 1_000_000 };
  const settings = { receivePoolBytes: 128 * 1024 * 1024, receiveBufferBytes: 64 * 1024 * 1024 };
  const world = new World({
    seed,
    settingsA: { ...settings, congestion: scenario.control, ...scenario.settings },
    settingsB: { ...settings, maxOutOfOrderBytes: 64 * 1024 * 1024, outOfOrderPoolBytes: 128 * 1024 * 1024 },
    link: {
      ...wire,
      poolBytes: 256 * 1024 * 1024,
      inboxFrames: 65_536,
      aToB: { ...wire, queueBytes, faults: { loss, reordering, duplication } },
      bToA: { ...wire, faults: { loss: loss > 0 ? loss : ackLoss } },
    },
  });
  const at = world.arena.allocate(REGION_BYTES);
  world.random.fill(world.arena.bytes.subarray(at, at + REGION_BYTES));
  const streams = Array.from({ length: scenario.streams }, (_, i) => new KnownStream(world, at, PORT + i));
  for (const { atUs, action } of scenario.happens) world.clock.at(atUs, () => action(world));
  const received = (): number => streams.reduce((sum, stream) => sum + stream.receivedBytes, 0);
  const complaints: string[] = [];
  let lastBytes = 0;
  let lastProgressUs = 0;
  let isHalfway = false;
  while (world.clock.nowUs() < limitUs && received() < bytes) {
    world.run(Math.min(SECOND, limitUs - world.clock.nowUs()), () => received() >= bytes);
    if (received() > lastBytes) lastProgressUs = world.clock.nowUs();
    lastBytes = received();
    if (world.clock.nowUs() - lastProgressUs > STALL_US) {
      complaints.push(`nothing has arrived for ${STALL_US / SECOND} s`);
      break;
    }
    if (!isHalfway && world.clock.nowUs() >= limitUs / 2) {
      isHalfway = true;
      for (const stream of streams) stream.halfwayBytes = stream.receivedBytes;
    }
  }
  const elapsedUs = world.clock.nowUs();
  const total = received();
  const counters = world.a.tcp.counters;
  const result = {
    bitsPerSecond: (8 * total * 1e6) / elapsedUs,
    segments: counters.get('segmentsSent'),
    retransmitted: counters.get('segmentsRetransmitted'),
    timeouts: counters.get('timeouts'),
    fairness: jain(streams.map((stream) => stream.receivedBytes - stream.halfwayBytes)),
  };
  if (total === 0) complaints.push('nothing has arrived');
  for (const { wrongAt, error } of streams) {
    if (wrongAt >= 0) complaints.push(`byte ${wrongAt} is wrong, or one before long`);
    if (error !== '') complaints.push(`a connection ended with ${error}`);
  }
  if (scenario.isClean && result.retransmitted > 0)
    complaints.push(`${result.retransmitted} segments sent again for nothing`);
  complaints.push(...leaksOf(world, streams));
  world.close();
  return { ...result, complaints };
}

function leaksOf(world: World, streams: readonly KnownStream[]): string[] {
  for (const { connection } of streams) if (connection !== null) abort(connection);
  world.a.stack.wake();
  world.link.faults.aToB.setRates({});
  world.link.faults.bToA.setRates({});
  world.run(EVERYTHING_OVER_US);
  world.b.tcp.close();
  world.b.stack.wake();
  world.run(EVERYTHING_OVER_US);
  return [...findLeaks(world.a), ...findLeaks(world.b)].map((leak) => `left over: ${leak}`);
}

function jain(shares: readonly number[]): number {
  const sum = shares.reduce((total, share) => total + share, 0);
  const squares = shares.reduce((total, share) => total + share * share, 0);
  return squares === 0 ? 0 : (sum * sum) / (shares.length * squares);
}
