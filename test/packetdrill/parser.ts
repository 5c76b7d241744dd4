/** Reads packetdrill scripts: options, a shell text that comes first, then events. One function for each rule of the language. */
import { ScriptError, type Token, tokenize } from './lexer.ts';
import type {
  Action,
  CallSpec,
  EcnSpec,
  Event,
  EventTime,
  Expression,
  IcmpSpec,
  OptionSpec,
  PacketSpec,
  Script,
} from './script.ts';

const ECN_WORDS: ReadonlySet<string> = new Set(['noecn', 'ect0', 'ect1', 'ce', 'ect01']);

/** Throws `ScriptError`. */
export function parseScript(source: string): Script {
  return new Parser(tokenize(source)).script();
}

class Parser {
  private readonly tokens: readonly Token[];
  private at = 0;

  constructor(tokens: readonly Token[]) {
    this.tokens = tokens;
  }

  script(): Script {
    const options: (readonly [string, string])[] = [];
    while (this.next.kind === 'option') {
      const [name = '', ...rest] = this.take().text.slice(2).split('=');
      options.push([name, rest.join('=')]);
    }
    const init = this.next.kind === 'shell' ? shellText(this.take()) : null;
    const events: Event[] = [];
    while (this.next.kind !== 'end') {
      // What stands alone behind the last event tidies up; there is nothing to tidy here.
      if (this.next.kind === 'shell') this.take();
      else events.push(this.event());
    }
    return { options, init, events };
  }

  private event(): Event {
    const { line } = this.next;
    const time = this.time();
    return { line, time, action: this.action(time) };
  }

  private time(): EventTime {
    if (this.accept('*')) return { kind: 'any' };
    const isRelative = this.accept('+');
    const us = this.seconds();
    if (!this.accept('~')) return { kind: 'at', us, isRelative };
    if (isRelative) this.expect('+');
    return { kind: 'range', us, endUs: this.seconds(), isRelative };
  }

  /** Microseconds. */
  private seconds(): number {
    const token = this.take();
    if (token.kind !== 'float' && token.kind !== 'integer') throw unexpected(token, 'a time');
    return Math.round(Number(token.text) * 1e6);
  }

  private action(time: EventTime): Action {
    const { kind } = this.next;
    if (kind === 'shell') return { kind: 'shell', text: shellText(this.take()) };
    if (kind === 'code') return { kind: 'code', text: this.take().text.slice(2, -2) };
    if (this.isNext('<') || this.isNext('>')) return this.packet();
    if (time.kind !== 'at') throw new ScriptError(this.next.line, 'only what is sent may come at any time');
    return { kind: 'call', call: this.call() };
  }

  private packet(): Action {
    const { line } = this.next;
    const isInbound = this.take().text === '<';
    const ecn = this.ipInfo();
    if (this.isWord('icmp')) return { kind: 'icmp', icmp: this.icmp(isInbound) };
    if (this.isWord('udp')) throw new ScriptError(line, 'UDP is not supported');
    const isEncapsulated = ['ipv4', 'ipv6', 'gre', 'mpls'].some((word) => this.isWord(word));
    if (isEncapsulated) throw new ScriptError(line, 'packets within packets are not supported');
    return { kind: 'packet', packet: this.segment(isInbound, ecn) };
  }

  /** `[ect0]`, `(tos 0x10)`. */
  private ipInfo(): EcnSpec {
    const close = this.isNext('[') ? ']' : ')';
    if (!this.accept('[') && !this.accept('(')) return 'any';
    const token = this.take();
    if (!ECN_WORDS.has(token.text)) throw new ScriptError(token.line, `${token.text} of an IP header is not supported`);
    this.expect(close);
    return token.text as EcnSpec;
  }

  private segment(isInbound: boolean, ecn: EcnSpec): PacketSpec {
    let ports: PacketSpec['ports'] = null;
    if (this.next.kind === 'integer' && this.peek(1).text === '>') {
      const source = this.integer();
      this.expect('>');
      ports = { source, target: this.integer() };
    }
    const flags = this.flags();
    const { seq, length } = this.sequence();
    const ack = this.acceptWord('ack') ? this.integer() : null;
    const window = this.acceptWord('win') ? this.integer() : null;
    const urgent = this.acceptWord('urg') ? this.integer() : 0;
    const options = this.isNext('<') && this.isOptionList() ? this.options() : [];
    return { isInbound, ecn, ports, flags, seq, length, ack, window, urgent, options };
  }

  private flags(): string {
    if (this.accept('-')) return '';
    if (this.accept('.')) return '.';
    const token = this.take();
    if (token.kind !== 'word' || !/^[FSRPUEWC]+$/.test(token.text)) throw unexpected(token, 'flags');
    return this.isNext('.') && !this.next.isApart ? `${token.text}${this.take().text}` : token.text;
  }

  /** `1:1001(1000)`. */
  private sequence(): { seq: number; length: number } {
    const { line } = this.next;
    const seq = this.integer();
    this.expect(':');
    const end = this.integer();
    this.expect('(');
    const length = this.integer();
    this.expect(')');
    if ((end - seq) >>> 0 !== length) throw new ScriptError(line, `${seq}:${end} is not ${length} bytes`);
    return { seq, length };
  }

  /** Whether `<` begins options, and not the next packet. */
  private isOptionList(): boolean {
    const { kind, text } = this.peek(1);
    return text === '...' || (kind === 'word' && !/^[FSRPUEWC]+$/.test(text) && text !== 'icmp' && text !== 'udp');
  }

  private options(): OptionSpec[] | null {
    this.expect('<');
    if (this.accept('...')) {
      this.expect('>');
      return null;
    }
    const options = [this.option()];
    while (this.accept(',')) options.push(this.option());
    this.expect('>');
    return options;
  }

  private option(): OptionSpec {
    const token = this.take();
    switch (token.text) {
      case 'nop':
      case 'eol':
      case 'sackOK':
        return { kind: token.text };
      case 'mss':
      case 'wscale':
        return { kind: token.text, value: this.integer() };
      case 'sack':
        return { kind: 'sack', blocks: this.blocks() };
      case 'TS':
        return { kind: 'TS', ...this.timestamps() };
      case 'FO':
      case 'FOEXP':
        return { kind: token.text, cookie: this.cookie() };
      default:
        throw new ScriptError(token.line, `the TCP option ${token.text} is not supported`);
    }
  }

  private blocks(): [number, number][] {
    const blocks: [number, number][] = [];
    while (this.next.kind === 'integer') {
      const left = this.integer();
      this.expect(':');
      blocks.push([left, this.integer()]);
    }
    return blocks;
  }

  private timestamps(): { value: number; echo: number } {
    this.expectWord('val');
    const value = this.integer();
    this.expectWord('ecr');
    return { value, echo: this.integer() };
  }

  private cookie(): string {
    const { kind } = this.next;
    return kind === 'word' || kind === 'integer' ? this.take().text : '';
  }

  private icmp(isInbound: boolean): IcmpSpec {
    this.expectWord('icmp');
    const type = this.word();
    const code = this.next.kind === 'word' && !this.isWord('mtu') ? this.word() : null;
    const mtu = this.acceptWord('mtu') ? this.integer() : null;
    if (!this.accept('[')) return { isInbound, type, code, mtu, seq: 0, length: 0 };
    const quoted = this.sequence();
    this.expect(']');
    return { isInbound, type, code, mtu, ...quoted };
  }

  private call(): CallSpec {
    const endUs = this.accept('...') ? this.seconds() : null;
    const name = this.word();
    this.expect('(');
    const args = this.list(')');
    this.expect('=');
    const result = this.negative();
    let errno: string | null = null;
    if (this.next.kind === 'word' && /^E[A-Z0-9]+$/.test(this.next.text)) errno = this.take().text;
    // What it says in words.
    if (this.accept('(')) while (!this.accept(')')) this.take();
    return { endUs, name, args, result, errno };
  }

  private list(end: string): Expression[] {
    const items: Expression[] = [];
    if (this.accept(end)) return items;
    do items.push(this.negative());
    while (this.accept(','));
    this.expect(end);
    return items;
  }

  private negative(): Expression {
    if (!this.accept('-')) return this.expression();
    return { kind: 'integer', value: -this.integer() };
  }

  private expression(): Expression {
    const parts = [this.term()];
    while (this.accept('|')) parts.push(this.term());
    return parts.length === 1 ? (parts[0] as Expression) : { kind: 'or', parts };
  }

  private term(): Expression {
    const token = this.take();
    switch (token.kind) {
      case 'integer':
      case 'hex':
        return { kind: 'integer', value: Number(token.text) };
      case 'string': {
        let text = JSON.parse(token.text.replace(/\\x([0-9a-fA-F]{2})/g, '\\u00$1')) as string;
        while (this.next.kind === 'string') text += JSON.parse(this.take().text) as string;
        this.accept('...');
        return { kind: 'string', text };
      }
      case 'word':
        if (!this.accept('(')) return { kind: 'word', name: token.text };
        return { kind: 'apply', name: token.text, args: this.list(')') };
      default:
    }
    if (token.text === '...') return { kind: 'ellipsis' };
    if (token.text === '[') return { kind: 'list', items: this.list(']') };
    if (token.text === '{') return { kind: 'struct', fields: this.fields() };
    throw unexpected(token, 'a value');
  }

  private fields(): (readonly [string, Expression])[] {
    const fields: (readonly [string, Expression])[] = [];
    while (!this.accept('}')) {
      const isNamed = this.next.kind === 'word' && (this.peek(1).text === '=' || this.peek(1).text === '(');
      if (isNamed && this.peek(1).text === '(') {
        // msg_iov(1)=...: how many there are is seen.
        const name = this.word();
        this.expect('(');
        this.list(')');
        this.expect('=');
        fields.push([name, this.negative()]);
      } else if (isNamed) {
        const name = this.word();
        this.expect('=');
        fields.push([name, this.negative()]);
      } else {
        fields.push(['', this.negative()]);
      }
      if (!this.isNext('}')) this.expect(',');
    }
    return fields;
  }

  // Tokens.

  private get next(): Token {
    return this.peek(0);
  }

  private peek(ahead: number): Token {
    return this.tokens[Math.min(this.at + ahead, this.tokens.length - 1)] as Token;
  }

  private take(): Token {
    const token = this.next;
    if (token.kind === 'end') throw new ScriptError(token.line, 'the script ends too early');
    this.at++;
    return token;
  }

  private isNext(mark: string): boolean {
    return this.next.kind === 'mark' && this.next.text === mark;
  }

  private isWord(word: string): boolean {
    return this.next.kind === 'word' && this.next.text === word;
  }

  private accept(mark: string): boolean {
    if (!this.isNext(mark)) return false;
    this.at++;
    return true;
  }

  private acceptWord(word: string): boolean {
    if (!this.isWord(word)) return false;
    this.at++;
    return true;
  }

  private expect(mark: string): void {
    if (!this.accept(mark)) throw unexpected(this.next, mark);
  }

  private expectWord(word: string): void {
    if (!this.acceptWord(word)) throw unexpected(this.next, word);
  }

  private word(): string {
    const token = this.take();
    if (token.kind !== 'word') throw unexpected(token, 'a name');
    return token.text;
  }

  private integer(): number {
    const token = this.take();
    if (token.kind !== 'integer' && token.kind !== 'hex') throw unexpected(token, 'a number');
    return Number(token.text);
  }
}

function shellText(token: Token): string {
  return token.text.slice(1, -1);
}

function unexpected(token: Token, wanted: string): ScriptError {
  return new ScriptError(token.line, `${JSON.stringify(token.text)} where ${wanted} is expected`);
}
