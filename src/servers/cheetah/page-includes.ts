/**
 * What an HTML page includes: the paths that a browser asks for next, in the order of the document. htmlparser2's tokenizer
 * finds tags and attributes in whatever it is given and keeps no tree, so that nothing here grows with what a page says;
 * the rest is the URL standard. Styles and scripts are not looked into.
 *
 * Control path: a page is read once when it is loaded, in pieces (page-groups.ts).
 */
import { QuoteType, Tokenizer, type TokenizerCallbacks } from 'htmlparser2';
import { asciiBytes } from '../http/characters.ts';

/** Stands for the page's own host, whatever its name: nothing else leads there. */
const ORIGIN = 'http://page.invalid';

/** Longer names are none that we know. */
const MAX_NAME_CHARS = 16;
/** Longer values are left out: `data:` URLs that go on and on, mostly. */
const MAX_VALUE_CHARS = 16_384;

/** Attributes that name what is included, by element; a `link` is told by its `rel` too, a `base` includes nothing. */
const WANTED = new Map<string, readonly string[]>([
  ['img', ['src', 'srcset']],
  ['source', ['src', 'srcset']],
  ['script', ['src']],
  ['link', ['href', 'rel']],
  ['iframe', ['src']],
  ['video', ['poster']],
  ['base', ['href']],
]);

/** Kinds of links that a browser fetches with the page. */
const FETCHED_LINKS = new Set(['stylesheet', 'icon', 'preload', 'modulepreload', 'manifest']);

export class PageIncludes implements TokenizerCallbacks {
  /** Paths of the same host, percent-encoded as a browser sends them, without query. */
  readonly paths: string[] = [];
  /** There were more than `maxPaths`. */
  cut = false;
  private readonly seen = new Set<string>();
  private readonly text: string;
  private readonly maxPaths: number;
  private readonly maxPathChars: number;
  private readonly tokenizer: Tokenizer;
  private position = 0;
  private base: string;
  private hasBase = false;
  private element = '';
  private wanted: readonly string[] | undefined = undefined;
  private readonly values = new Map<string, string>();
  private attribute = '';
  private value = '';

  /**
   * @param text the page
   * @param path the path that it was asked for by, percent-encoded
   * @param maxPaths paths there may be; later ones are left out
   * @param maxPathChars longer paths are left out
   */
  constructor(text: string, path: string, maxPaths: number, maxPathChars: number) {
    this.text = text;
    this.maxPaths = maxPaths;
    this.maxPathChars = maxPathChars;
    this.base = ORIGIN + path;
    this.tokenizer = new Tokenizer({ decodeEntities: true }, this);
  }

  /** Reads so many characters on; false when the page has come to its end. */
  read(characters: number): boolean {
    if (this.cut || this.position >= this.text.length) return false;
    this.tokenizer.write(this.text.slice(this.position, this.position + characters));
    this.position += characters;
    return this.position < this.text.length;
  }

  // Called by the tokenizer, with positions in the text. An element is complete with the end of its opening tag.

  onopentagname(start: number, end: number): void {
    this.element = end - start > MAX_NAME_CHARS ? '' : this.text.slice(start, end).toLowerCase();
    this.wanted = WANTED.get(this.element);
    this.values.clear();
  }

  onattribname(start: number, end: number): void {
    this.value = '';
    const known = this.wanted !== undefined && end - start <= MAX_NAME_CHARS;
    const name = known ? this.text.slice(start, end).toLowerCase() : '';
    // Of two attributes of one name the first counts.
    this.attribute = this.wanted?.includes(name) === true && !this.values.has(name) ? name : '';
  }

  onattribdata(start: number, end: number): void {
    if (this.attribute !== '' && this.value.length <= MAX_VALUE_CHARS) {
      this.value += this.text.slice(start, Math.min(end, start + MAX_VALUE_CHARS + 1));
    }
  }

  onattribentity(codePoint: number): void {
    if (this.attribute !== '' && this.value.length <= MAX_VALUE_CHARS) this.value += String.fromCodePoint(codePoint);
  }

  onattribend(quote: QuoteType): void {
    if (this.attribute === '') return;
    const usable = quote !== QuoteType.NoValue && this.value.length <= MAX_VALUE_CHARS;
    this.values.set(this.attribute, usable ? this.value : '');
    this.attribute = '';
  }

  onopentagend(): void {
    if (this.wanted !== undefined && this.values.size > 0) this.takeElement();
    this.wanted = undefined;
  }

  onselfclosingtag(): void {
    this.onopentagend();
  }

  onclosetag(): void {}
  oncdata(): void {}
  oncomment(): void {}
  ondeclaration(): void {}
  onend(): void {}
  onprocessinginstruction(): void {}
  ontext(): void {}
  ontextentity(): void {}

  private takeElement(): void {
    const { values } = this;
    if (this.element === 'base') {
      this.takeBase(values.get('href'));
      return;
    }
    if (this.element === 'link') {
      const kinds = (values.get('rel') ?? '').toLowerCase().split(/\s+/);
      if (kinds.some((kind) => FETCHED_LINKS.has(kind))) this.add(values.get('href') ?? '');
      return;
    }
    this.add(values.get('src') ?? '');
    this.add(values.get('poster') ?? '');
    for (const url of imageCandidates(values.get('srcset') ?? '')) this.add(url);
  }

  /** HTML section 4.2.3: the first one with an address counts, and is itself relative to the page. */
  private takeBase(href: string | undefined): void {
    if (href === undefined || this.hasBase) return;
    this.hasBase = true;
    this.base = resolveUrl(href, this.base)?.href ?? this.base;
  }

  private add(reference: string): void {
    if (this.cut || reference === '') return;
    const url = resolveUrl(reference, this.base);
    if (url === null || !url.href.startsWith(`${ORIGIN}/`) || url.pathname.length > this.maxPathChars) return;
    if (this.seen.has(url.pathname)) return;
    if (this.paths.length === this.maxPaths) {
      this.cut = true;
      return;
    }
    this.seen.add(url.pathname);
    this.paths.push(url.pathname);
  }
}

/** A request path as it was sent, as part of a URL: bytes that no URL has in it are percent-encoded. */
export function pathOfKey(key: Uint8Array): string {
  let path = '';
  for (const byte of key) {
    path += byte < 0x80 ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase()}`;
  }
  return path;
}

/** The bytes in which a browser asks for a path. */
export function keyOfPath(path: string): Uint8Array {
  return asciiBytes(path);
}

/** The addresses of a `srcset` (HTML section 4.8.4.2.1): a browser picks one of them, which one only it knows. */
export function imageCandidates(srcset: string): string[] {
  const urls: string[] = [];
  const candidate = /[\s,]*(\S+)/y;
  const descriptors = /[^,]*/y;
  for (let match = candidate.exec(srcset); match !== null; match = candidate.exec(srcset)) {
    const found = match[1] ?? '';
    const url = found.replace(/,+$/, '');
    urls.push(url);
    if (url.length < found.length) continue;
    descriptors.lastIndex = candidate.lastIndex;
    descriptors.exec(srcset);
    candidate.lastIndex = descriptors.lastIndex;
  }
  return urls;
}

function resolveUrl(reference: string, base: string): URL | null {
  try {
    return new URL(reference, base);
  } catch {
    return null;
  }
}
