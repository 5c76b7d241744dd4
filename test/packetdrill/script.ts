/** A packetdrill script as the parser gives it. Times are microseconds; what a script leaves open is null. */

export interface Script {
  /** `--name=value`; the value is '' where there is none. */
  readonly options: readonly (readonly [name: string, value: string])[];
  /** Shell text that stands before the first event. */
  readonly init: string | null;
  readonly events: readonly Event[];
}

export interface Event {
  readonly line: number;
  readonly time: EventTime;
  readonly action: Action;
}

/** `isRelative`: to the event before. `any`: whenever it happens. */
export type EventTime =
  | { readonly kind: 'any' }
  | { readonly kind: 'at'; readonly us: number; readonly isRelative: boolean }
  | { readonly kind: 'range'; readonly us: number; readonly endUs: number; readonly isRelative: boolean };

export type Action =
  | { readonly kind: 'packet'; readonly packet: PacketSpec }
  | { readonly kind: 'icmp'; readonly icmp: IcmpSpec }
  | { readonly kind: 'call'; readonly call: CallSpec }
  | { readonly kind: 'shell'; readonly text: string }
  | { readonly kind: 'code'; readonly text: string };

/** A TCP segment that is injected, or expected. */
export interface PacketSpec {
  readonly isInbound: boolean;
  readonly ecn: EcnSpec;
  readonly ports: { readonly source: number; readonly target: number } | null;
  /** Letters of `FSRPUEWC.`. */
  readonly flags: string;
  readonly seq: number;
  readonly length: number;
  readonly ack: number | null;
  readonly window: number | null;
  readonly urgent: number;
  /** Null for `<...>`: any. */
  readonly options: readonly OptionSpec[] | null;
}

export type EcnSpec = 'any' | 'noecn' | 'ect0' | 'ect1' | 'ce' | 'ect01';

export type OptionSpec =
  | { readonly kind: 'nop' | 'eol' | 'sackOK' }
  | { readonly kind: 'mss' | 'wscale'; readonly value: number }
  | { readonly kind: 'sack'; readonly blocks: readonly (readonly [left: number, right: number])[] }
  | { readonly kind: 'TS'; readonly value: number; readonly echo: number }
  /** The cookie is hexadecimal, or the name of a definition; '' asks for one. */
  | { readonly kind: 'FO' | 'FOEXP'; readonly cookie: string }
  | { readonly kind: 'unknown'; readonly number: number; readonly hex: string };

export interface IcmpSpec {
  readonly isInbound: boolean;
  readonly type: string;
  readonly code: string | null;
  readonly mtu: number | null;
  /** The segment that it quotes. */
  readonly seq: number;
  readonly length: number;
}

export interface CallSpec {
  /** When a call that waits returns, microseconds behind its start or from the script's; null: at once. */
  readonly endUs: number | null;
  readonly name: string;
  readonly args: readonly Expression[];
  readonly result: Expression;
  readonly errno: string | null;
}

export type Expression =
  | { readonly kind: 'ellipsis' }
  | { readonly kind: 'integer'; readonly value: number }
  | { readonly kind: 'word'; readonly name: string }
  | { readonly kind: 'string'; readonly text: string }
  | { readonly kind: 'or'; readonly parts: readonly Expression[] }
  | { readonly kind: 'list'; readonly items: readonly Expression[] }
  /** `{name = value, ...}`; what has no name has ''. */
  | { readonly kind: 'struct'; readonly fields: readonly (readonly [name: string, value: Expression])[] }
  /** `htons(8080)`, `inet_addr("1.2.3.4")`. */
  | { readonly kind: 'apply'; readonly name: string; readonly args: readonly Expression[] };
