/** The cells of the goodput table: what the wire does, for how long, and how many streams share it. */
import { CONGESTION_CONTROLS, type CongestionControlName } from '../../src/tcp/congestion/controls.ts';
import type { TcpSettings } from '../../src/tcp/settings.ts';
import type { World } from '../support/world.ts';

export const SECOND = 1_000_000;

export interface Scenario {
  readonly name: string;
  readonly control: CongestionControlName;
  readonly rttUs: number;
  readonly bitsPerSecond: number;
  readonly streams: number;
  /** Text that ends a cell, or virtual time that does. */
  readonly bytes: number;
  readonly limitUs: number;
  /** Bytes that may wait before the wire from the sender; Infinity for all. */
  readonly queueBytes: number;
  readonly loss: number;
  readonly ackLoss: number;
  readonly reordering: number;
  readonly duplication: number;
  /** What happens to the wire while it runs. */
  readonly happens: readonly Happening[];
  /** Nothing may be sent again. */
  readonly isClean: boolean;
  /** The sender's, where they are not the usual ones. */
  readonly settings: Partial<TcpSettings>;
}

export interface Happening {
  readonly atUs: number;
  readonly action: (world: World) => void;
}

const LOSSES = [0, 0.001, 0.01, 0.05, 0.1, 0.2];
const RTTS_US = [1000, 20_000, 100_000, 300_000];
const RATES = [10e6, 1e9];
export const CONTROLS = Object.keys(CONGESTION_CONTROLS).sort() as CongestionControlName[];

const BYTES = 16 * 1024 * 1024;
const LIMIT_US = 30 * SECOND;

export const PLAIN = {
  streams: 1,
  bytes: BYTES,
  limitUs: LIMIT_US,
  queueBytes: Number.POSITIVE_INFINITY,
  loss: 0,
  ackLoss: 0,
  reordering: 0,
  duplication: 0,
  happens: [],
  isClean: false,
  settings: {},
} as const;

/** Loss, round trip, rate and control, each with each. */
export function gridScenarios(): Scenario[] {
  const scenarios: Scenario[] = [];
  for (const bitsPerSecond of RATES) {
    for (const rttUs of RTTS_US) {
      for (const loss of LOSSES) {
        for (const control of CONTROLS) {
          const name = `${formatRate(bitsPerSecond)}, ${rttUs / 1000} ms, loss ${formatShare(loss)}, ${control}`;
          scenarios.push({ ...PLAIN, name, control, rttUs, bitsPerSecond, loss, isClean: loss === 0 });
        }
      }
    }
  }
  return scenarios;
}

/** What a wire may do otherwise: 100 Mbit/s and 20 ms. */
export function faultScenarios(): Scenario[] {
  const at = (atUs: number, action: (world: World) => void): Happening => ({ atUs, action });
  const bursts = Array.from({ length: 20 }, (_, i) => [
    at(i * 0.5 * SECOND + 0.25 * SECOND, ({ link }) => link.faults.aToB.setRates({ loss: 1 })),
    at(i * 0.5 * SECOND + 0.255 * SECOND, ({ link }) => link.faults.aToB.setRates({})),
  ]).flat();
  const cut =
    (loss: number) =>
    ({ link }: World) => {
      link.faults.aToB.setRates({ loss });
      link.faults.bToA.setRates({ loss });
    };
  const variants: readonly (readonly [string, Partial<Scenario>])[] = [
    ['reordering 5%', { reordering: 0.05 }],
    ['duplication 5%', { duplication: 0.05 }],
    ['5 ms of loss every half second', { happens: bursts }],
    ['ACKs lost, 20%', { ackLoss: 0.2 }],
    ['ACKs lost, 50%', { ackLoss: 0.5 }],
    ['cut for ten seconds', { happens: [at(0.5 * SECOND, cut(1)), at(10.5 * SECOND, cut(0))], limitUs: 60 * SECOND }],
    [
      'MTU halves, nobody is told',
      { happens: [at(0.5 * SECOND, ({ link }) => link.setMtu(750))], limitUs: 60 * SECOND },
    ],
    ['a queue of a quarter of the path', { queueBytes: 62_500 }],
  ];
  return variants.flatMap(([name, variant]) =>
    CONTROLS.map((control) => ({
      ...PLAIN,
      control,
      rttUs: 20_000,
      bitsPerSecond: 100e6,
      ...variant,
      name: `${name}, ${control}`,
    })),
  );
}

/** Streams that share a bottleneck of 100 Mbit/s and 20 ms, with a queue of one path's worth. */
export function fairnessScenarios(): Scenario[] {
  return [2, 4, 16, 64].flatMap((streams) =>
    CONTROLS.map((control) => ({
      ...PLAIN,
      name: `${streams} streams, ${control}`,
      control,
      streams,
      rttUs: 20_000,
      bitsPerSecond: 100e6,
      queueBytes: 250_000,
      bytes: Number.POSITIVE_INFINITY,
      limitUs: 30 * SECOND,
    })),
  );
}

export function formatRate(bitsPerSecond: number): string {
  return bitsPerSecond >= 1e9 ? `${bitsPerSecond / 1e9} Gbit/s` : `${bitsPerSecond / 1e6} Mbit/s`;
}

export function formatShare(share: number): string {
  return `${Number((100 * share).toFixed(1))}%`;
}
