/** Words of a packetdrill script. */

export class ScriptError extends Error {
  readonly line: number;

  constructor(line: number, message: string) {
    super(message);
    this.line = line;
  }
}

export type TokenKind = 'option' | 'shell' | 'code' | 'string' | 'float' | 'hex' | 'integer' | 'word' | 'mark' | 'end';

export interface Token {
  readonly kind: TokenKind;
  readonly text: string;
  readonly line: number;
  /** Something lies between it and the token before. */
  readonly isApart: boolean;
}

/** In this order: what comes first wins. */
const PATTERNS: readonly (readonly [kind: TokenKind | 'space', pattern: RegExp])[] = [
  ['space', /\s+|\/\/[^\n]*|\/\*[\s\S]*?\*\/|#[^\n]*/y],
  ['option', /--[A-Za-z_][\w-]*(?:=(?:`[^`]*`|"[^"\n]*"|[^\s`"])*)?/y],
  ['code', /%\{[\s\S]*?\}%/y],
  ['shell', /`[^`]*`/y],
  ['string', /"(?:[^"\\\n]|\\.)*"/y],
  ['mark', /\.\.\./y],
  ['float', /\d*\.\d+/y],
  ['hex', /0x[0-9a-fA-F]+/y],
  ['integer', /\d+(?!\w)/y],
  ['word', /[A-Za-z_]\w*|\d+[A-Za-z_]\w*/y],
  ['mark', /[-+*~<>()[\]{},;:=|.!^&?]/y],
];

/** Throws `ScriptError`. */
export function tokenize(source: string): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  let line = 1;
  let isApart = true;
  while (at < source.length) {
    const found = match(source, at);
    if (found === null) throw new ScriptError(line, `cannot read ${JSON.stringify(source.slice(at, at + 20))}`);
    const { kind, text } = found;
    if (kind === 'space') {
      isApart = true;
    } else {
      tokens.push({ kind, text, line, isApart });
      isApart = false;
    }
    at += text.length;
    line += text.split('\n').length - 1;
  }
  tokens.push({ kind: 'end', text: 'the end of the script', line, isApart: true });
  return tokens;
}

function match(source: string, at: number): { kind: TokenKind | 'space'; text: string } | null {
  for (const [kind, pattern] of PATTERNS) {
    pattern.lastIndex = at;
    const text = pattern.exec(source)?.[0];
    if (text !== undefined) return { kind, text };
  }
  return null;
}
