/**
 * The Python of `%{ ... }%` as scripts use it: assertions, assignments and print over integers. What is more than that is refused,
 * not guessed at.
 */

/** Something that this does not understand; the script cannot be run. */
export class UnsupportedCode extends Error {}

/** An assertion that does not hold. */
export class FailedAssertion extends Error {}

type Value = number | string | boolean;

/** Variables live as long as the script. */
export class Python {
  private readonly variables = new Map<string, Value>();

  /** Runs the text; `fields` are the names that its world gives it, like `tcpi_rtt`. Throws the errors above. */
  run(text: string, fields: ReadonlyMap<string, number>): void {
    for (const statement of statementsOf(text)) this.execute(statement, fields);
  }

  private execute(statement: string, fields: ReadonlyMap<string, number>): void {
    const names = { get: (name: string) => fields.get(name) ?? this.variables.get(name) };
    const assertion = /^assert\b\s*([\s\S]*)$/.exec(statement)?.[1];
    if (assertion !== undefined) {
      const reader = new Reader(assertion, names);
      const holds = reader.expression();
      const told = reader.accept(',') ? ` (${String(reader.expression())})` : '';
      reader.expectEnd();
      if (!isTrue(holds)) throw new FailedAssertion(`${statement}${told}`);
      return;
    }
    if (/^(print\b|pass$|import\b|$)/.test(statement)) return;
    const assigned = /^([A-Za-z_]\w*)\s*([-+*|&]?)=(?!=)\s*([\s\S]*)$/.exec(statement);
    if (assigned === null) throw new UnsupportedCode(`Python: ${statement}`);
    const [, name = '', operator = '', right = ''] = assigned;
    const source = operator === '' ? right : `${name} ${operator} (${right})`;
    const reader = new Reader(source, names);
    this.variables.set(name, reader.expression());
    reader.expectEnd();
  }
}

function statementsOf(text: string): string[] {
  const statements: string[] = [];
  let current = '';
  let depth = 0;
  for (const line of text.split('\n')) {
    for (const character of line.replace(/#.*$/, '')) {
      if ('([{'.includes(character)) depth++;
      if (')]}'.includes(character)) depth--;
      if (character === ';' && depth === 0) {
        statements.push(current.trim());
        current = '';
      } else {
        current += character;
      }
    }
    if (depth > 0 || current.trimEnd().endsWith('\\')) {
      current = current.trimEnd().replace(/\\$/, ' ');
      continue;
    }
    statements.push(current.trim());
    current = '';
  }
  return [...statements, current.trim()].filter((statement) => statement !== '');
}

const TOKEN =
  /\s*(?:(\d+\.\d*|0x[0-9a-fA-F]+|\d+)|([A-Za-z_]\w*)|("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(==|!=|<=|>=|<<|>>|\/\/|\*\*|[-+*/%<>()&|^~,]))/y;

interface Names {
  get(name: string): Value | undefined;
}

/** A recursive descent in Python's order of precedence. */
class Reader {
  private readonly tokens: string[] = [];
  private readonly names: Names;
  private at = 0;

  constructor(source: string, names: Names) {
    this.names = names;
    let from = 0;
    while (source.slice(from).trim() !== '') {
      TOKEN.lastIndex = from;
      const found = TOKEN.exec(source);
      if (found === null) throw new UnsupportedCode(`Python: ${source.slice(from)}`);
      this.tokens.push(found[0].trim());
      from = TOKEN.lastIndex;
    }
  }

  accept(...texts: readonly string[]): boolean {
    if (!texts.includes(this.tokens[this.at] ?? '')) return false;
    this.at++;
    return true;
  }

  expectEnd(): void {
    if (this.at < this.tokens.length) throw new UnsupportedCode(`Python: ${this.tokens.slice(this.at).join(' ')}`);
  }

  expression(): Value {
    let left = this.conjunction();
    while (this.accept('or')) {
      const right = this.conjunction();
      left = isTrue(left) ? left : right;
    }
    return left;
  }

  private conjunction(): Value {
    let left = this.negation();
    while (this.accept('and')) {
      const right = this.negation();
      left = isTrue(left) ? right : left;
    }
    return left;
  }

  private negation(): Value {
    return this.accept('not') ? !isTrue(this.negation()) : this.comparison();
  }

  /** `a <= b < c`. */
  private comparison(): Value {
    let left = this.bits();
    let holds: boolean | null = null;
    for (;;) {
      const operator = this.tokens[this.at] ?? '';
      if (!['==', '!=', '<', '<=', '>', '>='].includes(operator)) return holds ?? left;
      this.at++;
      const right = this.bits();
      holds = (holds ?? true) && compare(operator, left, right);
      left = right;
    }
  }

  private bits(): Value {
    let left = this.sum();
    for (;;) {
      if (this.accept('|')) left = toNumber(left) | toNumber(this.sum());
      else if (this.accept('&')) left = toNumber(left) & toNumber(this.sum());
      else if (this.accept('^')) left = toNumber(left) ^ toNumber(this.sum());
      else if (this.accept('<<')) left = toNumber(left) * 2 ** toNumber(this.sum());
      else if (this.accept('>>')) left = Math.floor(toNumber(left) / 2 ** toNumber(this.sum()));
      else return left;
    }
  }

  private sum(): Value {
    let left = this.product();
    for (;;) {
      if (this.accept('+')) left = toNumber(left) + toNumber(this.product());
      else if (this.accept('-')) left = toNumber(left) - toNumber(this.product());
      else return left;
    }
  }

  private product(): Value {
    let left = this.unary();
    for (;;) {
      if (this.accept('*')) left = toNumber(left) * toNumber(this.unary());
      else if (this.accept('//')) left = Math.floor(toNumber(left) / toNumber(this.unary()));
      else if (this.accept('/')) left = toNumber(left) / toNumber(this.unary());
      else if (this.accept('%')) left = remainder(left, this.unary());
      else return left;
    }
  }

  private unary(): Value {
    if (this.accept('-')) return -toNumber(this.unary());
    if (this.accept('+')) return toNumber(this.unary());
    if (this.accept('~')) return ~toNumber(this.unary());
    return this.atom();
  }

  private atom(): Value {
    const token = this.tokens[this.at++] ?? '';
    if (token === '(') {
      const value = this.expression();
      if (!this.accept(')')) throw new UnsupportedCode('Python: a parenthesis that is not closed');
      return value;
    }
    if (/^\d/.test(token)) return Number(token);
    if (/^["']/.test(token)) return token.slice(1, -1);
    if (token === 'True') return true;
    if (token === 'False') return false;
    if (this.accept('(')) return this.call(token);
    const value = this.names.get(token);
    if (value === undefined) throw new UnsupportedCode(`Python: the name ${JSON.stringify(token)}`);
    return value;
  }

  private call(name: string): Value {
    const values: number[] = [];
    if (!this.accept(')')) {
      do values.push(toNumber(this.expression()));
      while (this.accept(','));
      if (!this.accept(')')) throw new UnsupportedCode('Python: a parenthesis that is not closed');
    }
    if (name === 'abs') return Math.abs(values[0] ?? 0);
    if (name === 'min') return Math.min(...values);
    if (name === 'max') return Math.max(...values);
    if (name === 'int') return Math.trunc(values[0] ?? 0);
    throw new UnsupportedCode(`Python: the function ${name}`);
  }
}

function isTrue(value: Value): boolean {
  return value !== false && value !== 0 && value !== '';
}

/** Of numbers; of a text it is the text with the values put in, where what it looks like does not matter here. */
function remainder(left: Value, right: Value): Value {
  return typeof left === 'string' ? `${left} ${right}` : toNumber(left) % toNumber(right);
}

function toNumber(value: Value): number {
  if (typeof value === 'string') throw new UnsupportedCode(`Python: arithmetic with ${JSON.stringify(value)}`);
  return Number(value);
}

function compare(operator: string, left: Value, right: Value): boolean {
  if (operator === '==') return left === right || Number(left) === Number(right);
  if (operator === '!=') return !compare('==', left, right);
  const [a, b] = [toNumber(left), toNumber(right)];
  if (operator === '<') return a < b;
  if (operator === '<=') return a <= b;
  return operator === '>' ? a > b : a >= b;
}
