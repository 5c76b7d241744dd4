/**
 * Requests prepared once: the bytes that every connection sends, one form for most and one that ends the connection.
 *
 * Memory: two blocks of the arena, which live as long as it does and never change, so that any number of connections lend
 * them at once.
 */

export interface RequestOptions {
  readonly method: string;
  /** Path and query, as they are sent. */
  readonly target: string;
  /** Host and port, as in the URL. */
  readonly authority: string;
  /** Further fields, in order. */
  readonly fields: readonly (readonly [name: string, value: string])[];
}

export interface PreparedRequest {
  readonly keepAt: number;
  readonly keepBytes: number;
  readonly closeAt: number;
  readonly closeBytes: number;
  /** A response to it has no body (HEAD). */
  readonly bodiless: boolean;
}

interface Memory {
  readonly bytes: Uint8Array;
  allocate(bytes: number): number;
}

export function prepareRequest(memory: Memory, options: RequestOptions): PreparedRequest {
  const keep = place(memory, requestText(options, false));
  const close = place(memory, requestText(options, true));
  return {
    keepAt: keep.at,
    keepBytes: keep.length,
    closeAt: close.at,
    closeBytes: close.length,
    bodiless: options.method === 'HEAD',
  };
}

/** The head of a request without a body (RFC 9112 section 3). */
export function requestText(options: RequestOptions, close: boolean): string {
  const { method, target, authority, fields } = options;
  const lines = [`${method} ${target} HTTP/1.1`];
  if (!fields.some(([name]) => name.toLowerCase() === 'host')) lines.push(`Host: ${authority}`);
  for (const [name, value] of fields) lines.push(`${name}: ${value}`);
  if (close) lines.push('Connection: close');
  return `${lines.join('\r\n')}\r\n\r\n`;
}

function place(memory: Memory, text: string): { at: number; length: number } {
  const bytes = Buffer.from(text, 'latin1');
  const at = memory.allocate(bytes.length);
  memory.bytes.set(bytes, at);
  return { at, length: bytes.length };
}
