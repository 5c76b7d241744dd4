/**
 * Runs a packetdrill script against a host in simulation: its socket calls on the host, its segments on the host's wire, all of it
 * under virtual time. What the script leaves open (addresses, ports, initial sequence numbers, timestamps) is matched up as
 * the script goes on.
 */
import { PosixSockets } from '../../src/sockets/posix/posix-sockets.ts';
import { NOT_FOUND } from '../../src/tcp/connections.ts';
import { TCP_PROFILES } from '../../src/tcp/profiles.ts';
import type { TcpSettings } from '../../src/tcp/settings.ts';
import { RawWorld } from '../support/raw-world.ts';
import { errnoName } from './constants.ts';
import { ScriptError } from './lexer.ts';
import { parseScript } from './parser.ts';
import { FailedAssertion, Python, UnsupportedCode } from './python.ts';
import type { CallSpec, EcnSpec, Event, EventTime, IcmpSpec, OptionSpec, PacketSpec, Script } from './script.ts';
import { type LiveSegment, orderFlags, ScriptWire, writeDownOption } from './segments.ts';
import { type Answer, LOCAL_PORT, number, SocketCalls, UnsupportedCall, WrongResult } from './socket-calls.ts';
import { settingsOf, UnsupportedCommand } from './sysctl.ts';
import { tcpInfoFields } from './tcp-info-fields.ts';

export type Verdict = 'passed' | 'failed' | 'refused';

export interface Outcome {
  readonly verdict: Verdict;
  /** Where and why not. */
  readonly line: number;
  readonly message: string;
}

/** A segment, a result or a moment that is not the script's. */
class Mismatch extends Error {}

const DEFAULT_TOLERANCE_US = 4000;
/** How much longer than until it is due a segment is waited for, so as to say when it came. */
const PATIENCE_US = 3_000_000;
/** The initial sequence number of the peer; scripts have 0. */
/** What the public collections call a cookie that is good: by name, and the one of the addresses and the key that they set. */
const OWN_COOKIES: ReadonlySet<string> = new Set(['TFO_COOKIE', '3021b9d889017eeb']);
const REMOTE_ISN = 0x2000_0000;
const FIRST_REMOTE_PORT = 40_000;
/** Sequence numbers of segments before any connection is there. */
const NO_NUMBER = 0;

const ICMP_UNREACHABLE_CODES: Readonly<Record<string, number>> = {
  net_unreachable: 0,
  host_unreachable: 1,
  protocol_unreachable: 2,
  port_unreachable: 3,
  frag_needed: 4,
  source_route_failed: 5,
  net_unknown: 6,
  host_unknown: 7,
  source_host_isolated: 8,
  net_prohibited: 9,
  host_prohibited: 10,
  net_unreachable_for_tos: 11,
  host_unreachable_for_tos: 12,
  packet_filtered: 13,
};
const ICMP_TYPES: Readonly<Record<string, number>> = { unreachable: 3, source_quench: 4, time_exceeded: 11 };
const ECN_VALUES: Readonly<Record<EcnSpec, number>> = { any: 0, noecn: 0, ect0: 2, ect1: 1, ce: 3, ect01: 2 };

/** A connection as the script numbers it, and as it is on the wire. */
interface Line {
  readonly remotePort: number;
  /** Learned from the host's SYN where the host opens. */
  localPort: number;
  readonly isActive: boolean;
  /** What the script calls, and what are, the first sequence numbers of both sides. */
  scriptIrs: number;
  scriptIss: number;
  /** The peer has sent something. */
  answered: boolean;
  iss: number | null;
  /** The script's timestamps, and the host's. */
  readonly stamps: Map<number, number>;
}

export interface RunOptions {
  /** What a name of a cookie stands for, and the like. */
  readonly definitions?: ReadonlyMap<string, string>;
}

export function runScript(source: string, options: RunOptions = {}): Outcome {
  let runner: Runner | null = null;
  try {
    const script = parseScript(source);
    runner = new Runner(script, options);
    runner.run();
    return { verdict: 'passed', line: 0, message: '' };
  } catch (error) {
    const line = error instanceof ScriptError ? error.line : (runner?.line ?? 0);
    const message = error instanceof Error ? error.message : String(error);
    const isMismatch = error instanceof Mismatch || error instanceof FailedAssertion || error instanceof WrongResult;
    if (isMismatch) return { verdict: 'failed', line, message };
    const isRefused = [ScriptError, UnsupportedCode, UnsupportedCall, UnsupportedCommand].some(
      (kind) => error instanceof kind,
    );
    if (isRefused) return { verdict: 'refused', line, message: `not supported: ${message}` };
    return { verdict: 'failed', line, message: error instanceof Error ? (error.stack ?? message) : message };
  } finally {
    runner?.close();
  }
}

class Runner {
  /** Of the event that is being dealt with. */
  line = 0;
  private readonly script: Script;
  private readonly world: RawWorld;
  private readonly wire: ScriptWire;
  private readonly calls: SocketCalls;
  private readonly python = new Python();
  private readonly definitions: ReadonlyMap<string, string>;
  private readonly toleranceUs: number;
  private readonly startUs: number;
  private readonly lines: Line[] = [];
  private current: Line | null = null;
  private listenPort = LOCAL_PORT;
  private nextRemotePort = FIRST_REMOTE_PORT;
  /** Calls that wait, and a complaint about one that has ended. */
  private waiting = 0;
  private complaint: Error | null = null;
  private lastFd = -1;

  constructor(script: Script, { definitions = new Map() }: RunOptions) {
    this.script = script;
    this.definitions = definitions;
    const option = (name: string): string | undefined => script.options.find(([given]) => given === name)?.[1];
    this.toleranceUs = Number(option('tolerance_usecs') ?? DEFAULT_TOLERANCE_US);
    if (option('ip_version') !== undefined && option('ip_version') !== 'ipv4') {
      throw new UnsupportedCommand(`--ip_version=${option('ip_version')}`);
    }
    const settings: Partial<TcpSettings> = {
      ...TCP_PROFILES.linuxLike,
      ...settingsOf(script.init ?? ''),
    };
    const mtu = Number(option('mtu') ?? 1500);
    this.world = new RawWorld({ seed: 7, settings, link: { offload: true, mtu } });
    this.wire = new ScriptWire(this.world);
    // The next hop is known: a script does not tell of ARP.
    this.world.host.stack.paths.acquire(this.world.peerAddress);
    this.world.advance(10_000);
    this.startUs = this.world.nowUs;
    const sockets = new PosixSockets(this.world.host.tcp, this.world.arena);
    this.calls = new SocketCalls(sockets, this.world.peerAddress);
    this.calls.onListen = (port) => {
      this.listenPort = port;
      // Whoever is to be accepted is new.
      this.current = null;
    };
    this.calls.onConnect = (remotePort) => {
      this.begin({ remotePort, localPort: 0, isActive: true });
    };
  }

  close(): void {
    this.world.close();
  }

  run(): void {
    for (const event of this.script.events) {
      this.line = event.line;
      this.take(event);
      if (this.complaint !== null) throw this.complaint;
    }
    if (this.waiting > 0) this.advanceTo(this.nowUs + PATIENCE_US);
    if (this.complaint !== null) throw this.complaint;
    if (this.waiting > 0) throw new Mismatch('a call still waits at the end of the script');
  }

  /** Of the script. */
  private get nowUs(): number {
    return this.world.nowUs - this.startUs;
  }

  private advanceTo(timeUs: number): void {
    this.world.clock.runUntil(this.startUs + Math.max(timeUs, this.nowUs));
  }

  private take(event: Event): void {
    const { action, time } = event;
    if (action.kind === 'packet' && !action.packet.isInbound) {
      this.expect(action.packet, time);
      return;
    }
    this.advanceTo(this.dueUs(time));
    switch (action.kind) {
      case 'packet':
        this.inject(action.packet);
        break;
      case 'icmp':
        this.injectIcmp(action.icmp);
        break;
      case 'call':
        this.call(action.call, time);
        break;
      case 'shell':
        Object.assign(this.world.host.tcp.settings, settingsOf(action.text));
        break;
      case 'code':
        this.python.run(action.text, this.info());
        break;
    }
  }

  private dueUs(time: EventTime): number {
    if (time.kind === 'any') return this.nowUs;
    return time.isRelative ? this.nowUs + time.us : time.us;
  }

  // Calls.

  private call(spec: CallSpec, time: EventTime): void {
    const { line } = this;
    const isRelative = time.kind === 'at' && time.isRelative;
    const base = isRelative ? this.nowUs - (time.kind === 'at' ? time.us : 0) : 0;
    const endUs = spec.endUs === null ? null : base + spec.endUs;
    const fd = spec.args[0];
    const finish = (answer: Answer): void => {
      this.verifyTime(endUs ?? this.nowUs, endUs ?? this.nowUs, this.nowUs, `${spec.name} returns`);
      this.verifyAnswer(spec, answer);
      if (spec.name === 'accept' || spec.name === 'socket' || spec.name === 'accept4') this.lastFd = answer.value;
    };
    if (fd?.kind === 'integer' && spec.name !== 'close' && !spec.name.startsWith('epoll')) this.lastFd = fd.value;
    const answer = this.calls.make(spec, (late) => {
      this.waiting--;
      try {
        finish(late);
      } catch (error) {
        this.complaint ??= new Mismatch(`(line ${line}) ${error instanceof Error ? error.message : error}`);
      }
    });
    if (answer === null) {
      if (endUs === null) {
        // A call that ends within its own turn, like a close that lingers for nothing.
        this.waiting++;
        this.world.settle();
        if (this.waiting > 0) throw new Mismatch(`${spec.name} waits, and should return at once`);
        return;
      }
      this.waiting++;
      this.world.settle();
      return;
    }
    finish(answer);
    this.world.settle();
  }

  private verifyAnswer(spec: CallSpec, answer: Answer): void {
    if (spec.result.kind !== 'ellipsis') {
      const expected = number(spec.result);
      if (answer.value !== expected) {
        const why = answer.errno === 0 ? '' : ` (${errnoName(answer.errno)})`;
        throw new Mismatch(`${spec.name} returns ${answer.value}${why}, not ${expected}`);
      }
    }
    if (spec.errno !== null && errnoName(answer.errno) !== spec.errno) {
      throw new Mismatch(`${spec.name} fails with ${errnoName(answer.errno)}, not ${spec.errno}`);
    }
    answer.verify();
  }

  private info(): Map<string, number> {
    return tcpInfoFields(this.calls.info(this.lastFd) ?? Buffer.alloc(0));
  }

  // Segments to the host.

  private begin(line: Pick<Line, 'remotePort' | 'localPort' | 'isActive'>): Line {
    const begun = {
      ...line,
      scriptIrs: 0,
      scriptIss: 0,
      iss: null,
      answered: false,
      stamps: new Map<number, number>(),
    };
    this.lines.push(begun);
    this.current = begun;
    return begun;
  }

  /** The connection that an injected segment belongs to. */
  private lineFor(packet: PacketSpec): Line {
    const isSyn = packet.flags.includes('S') && !packet.flags.includes('.');
    if (packet.ports !== null) {
      const { source, target } = packet.ports;
      const known = this.lines.find(({ remotePort, localPort }) => remotePort === source && localPort === target);
      const line = known ?? this.begin({ remotePort: source, localPort: target, isActive: false });
      this.current = line;
      if (known === undefined) line.scriptIrs = packet.seq;
      return line;
    }
    if (this.current !== null && (!isSyn || this.isAlive(this.current))) return this.current;
    const line = this.begin({ remotePort: this.nextRemotePort++, localPort: this.listenPort, isActive: false });
    line.scriptIrs = packet.seq;
    return line;
  }

  private isAlive({ remotePort, localPort, isActive, iss }: Line): boolean {
    if (isActive && iss === null) return true;
    const { hostAddress, peerAddress, host } = this.world;
    return host.tcp.table.find(peerAddress, remotePort, hostAddress, localPort) !== NOT_FOUND;
  }

  private inject(packet: PacketSpec): void {
    const line = this.lineFor(packet);
    if (packet.flags.includes('S') && (line.isActive ? !line.answered : !this.isAlive(line)))
      line.scriptIrs = packet.seq;
    line.answered = true;
    const iss = line.iss ?? NO_NUMBER;
    this.wire.inject({
      sourcePort: line.remotePort,
      targetPort: line.localPort,
      flags: orderFlags(packet.flags),
      seq: REMOTE_ISN + packet.seq - irsOf(packet, line),
      ack: packet.ack === null ? 0 : iss + packet.ack - issOf(packet, line),
      window: packet.window ?? 0,
      urgent: packet.urgent,
      length: packet.length,
      ecn: ECN_VALUES[packet.ecn],
      options: (packet.options ?? []).map((option) => this.toLive(option, line)),
    });
  }

  /** An option of the script with the numbers of the wire. */
  private toLive(option: OptionSpec, line: Line): OptionSpec {
    const iss = line.iss ?? NO_NUMBER;
    switch (option.kind) {
      case 'sack':
        return {
          kind: 'sack',
          blocks: option.blocks.map(([left, right]) => [iss + left, iss + right]),
        };
      case 'TS':
        return { ...option, echo: liveStamp(line, option.echo) };
      case 'FO':
      case 'FOEXP':
        return { ...option, cookie: this.cookieOf(option.cookie) };
      default:
        return option;
    }
  }

  /** `TFO_COOKIE` is the one that the host would give, whatever a definition says of other hosts'. */
  private cookieOf(name: string): string {
    const { host, hostAddress, peerAddress } = this.world;
    if (!OWN_COOKIES.has(name)) return this.definitions.get(name) ?? name;
    return Buffer.from(host.tcp.fastOpenCookies.make(hostAddress, peerAddress, host.tcp.nowUs)).toString('hex');
  }

  private injectIcmp({ type, code, mtu, seq }: IcmpSpec): void {
    const number = ICMP_TYPES[type];
    const codeNumber = code === null ? 0 : ICMP_UNREACHABLE_CODES[code];
    const line = this.current;
    if (number === undefined || codeNumber === undefined || line === null) {
      throw new UnsupportedCommand(`icmp ${type} ${code ?? ''}`);
    }
    const quoted = {
      sourcePort: line.localPort,
      targetPort: line.remotePort,
      seq: (line.iss ?? 0) + seq,
    };
    this.wire.injectIcmp(number, codeNumber, mtu ?? 0, quoted);
  }

  // Segments from the host.

  private expect(packet: PacketSpec, time: EventTime): void {
    const now = this.nowUs;
    const [fromUs, toUs] = windowOf(time, now);
    const { wire } = this;
    const { inbox } = wire;
    this.skipOthers();
    const limitUs = (toUs === Number.POSITIVE_INFINITY ? now : toUs) + PATIENCE_US;
    const came =
      inbox.length > 0 ||
      this.world.runUntil(
        () => {
          this.skipOthers();
          return inbox.length > 0;
        },
        Math.max(0, limitUs - now),
      );
    const live = wire.takeUpTo(packet.length);
    if (!came || live === undefined) {
      throw new Mismatch(`nothing is sent, where this is expected:\n  ${writeDownSpec(packet)}`);
    }
    const line = this.lineOf(live, packet);
    this.verify(packet, live, line);
    this.verifyTime(fromUs, toUs, live.timeUs - this.startUs, `${writeDown(live, line)} is sent`);
  }

  /** A script tells only of the connection that it is at; others still end. */
  private skipOthers(): void {
    const { inbox } = this.wire;
    while (inbox[0] !== undefined && this.isOfAnother(inbox[0])) inbox.shift();
  }

  private isOfAnother({ sourcePort, targetPort }: LiveSegment): boolean {
    const line = this.lines.findLast((each) => each.remotePort === targetPort && each.localPort === sourcePort);
    return line !== undefined && line !== this.current;
  }

  private lineOf(live: LiveSegment, packet: PacketSpec): Line {
    const isOf = (each: Line): boolean =>
      each.remotePort === live.targetPort && (each.localPort === live.sourcePort || each.localPort === 0);
    const line = this.lines.findLast(isOf);
    if (line === undefined) throw new Mismatch(`a segment of no connection: ${writeDown(live, null)}`);
    line.localPort = live.sourcePort;
    if (live.flags.includes('S')) {
      line.iss = live.seq;
      line.scriptIss = packet.seq;
    }
    return line;
  }

  private verify(packet: PacketSpec, live: LiveSegment, line: Line): void {
    const iss = line.iss ?? live.seq;
    const seq = (live.seq - iss + issOf(live, line)) >>> 0;
    const ack = (live.ack - REMOTE_ISN + irsOf(live, line)) >>> 0;
    const wrong: string[] = [];
    if (live.flags !== orderFlags(packet.flags)) wrong.push('flags');
    if (seq !== packet.seq >>> 0 || live.length !== packet.length) wrong.push('sequence numbers');
    if (packet.ack !== null && ack !== packet.ack >>> 0) wrong.push('acknowledgment');
    if (packet.window !== null && live.window !== packet.window) wrong.push('window');
    if (live.urgent !== packet.urgent) wrong.push('urgent pointer');
    if (!isEcn(packet.ecn, live.ecn)) wrong.push('ECN');
    if (packet.options !== null) {
      const expected = packet.options.map((option) => comparable(option, null));
      const found = live.options.map((option) => comparable(option, line));
      if (expected.join() !== found.join()) wrong.push('options');
      else noteStamps(packet.options, live.options, line);
    }
    if (wrong.length === 0) return;
    throw new Mismatch(
      `another segment than expected (${wrong.join(', ')}):\n  expected ${writeDownSpec(packet)}\n  found    ${writeDown(live, line)}`,
    );
  }

  private verifyTime(fromUs: number, toUs: number, actualUs: number, what: string): void {
    const slackUs = this.toleranceUs;
    if (actualUs >= fromUs - slackUs && actualUs <= toUs + slackUs) return;
    const due = fromUs === toUs ? seconds(fromUs) : `${seconds(fromUs)} to ${seconds(toUs)}`;
    throw new Mismatch(`${what} at ${seconds(actualUs)} s, not at ${due}`);
  }
}

/** The initial numbers as the script has them: it counts from its own in a SYN, and from 0 in everything else. */
function irsOf({ flags }: { readonly flags: string }, line: Line): number {
  return flags.includes('S') ? line.scriptIrs : 0;
}

function issOf({ flags }: { readonly flags: string }, line: Line): number {
  return flags.includes('S') ? line.scriptIss : 0;
}

function windowOf(time: EventTime, now: number): [number, number] {
  if (time.kind === 'any') return [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY];
  const base = time.isRelative ? now : 0;
  return [base + time.us, base + (time.kind === 'range' ? time.endUs : time.us)];
}

function seconds(us: number): string {
  return (us / 1e6).toFixed(6);
}

/** What the host's clock says where the script's says this. */
function liveStamp(line: Line, script: number): number {
  const known = line.stamps.get(script);
  if (known !== undefined) return known;
  const [first] = line.stamps;
  return first === undefined ? script : (first[1] + script - first[0]) >>> 0;
}

function noteStamps(expected: readonly OptionSpec[], found: readonly OptionSpec[], line: Line): void {
  for (const [i, option] of expected.entries()) {
    const live = found[i];
    if (option.kind === 'TS' && live?.kind === 'TS') line.stamps.set(option.value, live.value);
  }
}

/** What two options are compared by: not the value of the host's clock. Blocks come back in the script's numbers with `line`. */
function comparable(option: OptionSpec, line: Line | null): string {
  if (option.kind === 'TS') return `TS ecr ${option.echo >>> 0}`;
  if (option.kind === 'sack' && line !== null) return writeDownOption(toScript(option));
  if (option.kind === 'FO' || option.kind === 'FOEXP') return option.kind;
  return writeDownOption(option);
}

function toScript(option: OptionSpec): OptionSpec {
  if (option.kind !== 'sack') return option;
  const number = (seq: number) => (seq - REMOTE_ISN) >>> 0;
  return { kind: 'sack', blocks: option.blocks.map(([left, right]) => [number(left), number(right)]) };
}

function isEcn(expected: EcnSpec, found: number): boolean {
  if (expected === 'any') return true;
  if (expected === 'ect01') return found === 1 || found === 2;
  return found === ECN_VALUES[expected];
}

function writeDownSpec(packet: PacketSpec): string {
  const { flags, seq, length, ack, window, urgent, options, ecn } = packet;
  const text = [
    ecn === 'any' ? '' : `[${ecn}]`,
    flags === '' ? '-' : flags,
    `${seq}:${seq + length}(${length})`,
    ack === null ? '' : `ack ${ack}`,
    window === null ? '' : `win ${window}`,
    urgent === 0 ? '' : `urg ${urgent}`,
    options === null ? '<...>' : writeDownOptions(options),
  ];
  return text.filter((part) => part !== '').join(' ');
}

/** In the script's numbers, where there is a connection to go by. */
function writeDown(live: LiveSegment, line: Line | null): string {
  const iss = line?.iss ?? live.seq;
  const seq = (live.seq - iss + (line === null ? 0 : issOf(live, line))) >>> 0;
  const ack = (live.ack - REMOTE_ISN + (line === null ? 0 : irsOf(live, line))) >>> 0;
  const options = line === null ? live.options : live.options.map((option) => toScript(option));
  const text = [
    ['', '[ect1]', '[ect0]', '[ce]'][live.ecn] ?? '',
    live.flags === '' ? '-' : live.flags,
    `${seq}:${seq + live.length}(${live.length})`,
    live.flags.includes('.') ? `ack ${ack}` : '',
    `win ${live.window}`,
    live.urgent === 0 ? '' : `urg ${live.urgent}`,
    writeDownOptions(options),
  ];
  return text.filter((part) => part !== '').join(' ');
}

function writeDownOptions(options: readonly OptionSpec[]): string {
  return options.length === 0 ? '' : `<${options.map(writeDownOption).join(',')}>`;
}
