/**
 * From a request target's path to a name under the root: percent-decoded once, checked, split. Control path: a name is
 * looked up once and then found in the path table by the path's raw bytes.
 */
import type { Bytes } from '../../wire/bytes.ts';
import { u8 } from '../../wire/bytes.ts';
import { BACKSLASH, hexValue, PERCENT } from './characters.ts';

export interface TargetPath {
  /** 0, or the status to refuse the path with; the other fields mean nothing then. */
  readonly status: number;
  /** Names from the root down, without the empty ones. */
  readonly segments: readonly string[];
  /** The path ended with a slash: a directory is meant. */
  readonly directory: boolean;
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * Decodes a path that begins with a slash. 400 for a broken percent-encoding and for NUL; 404 for what this server has no
 * files for: `..` however it is written, names that begin with a dot, backslashes, control characters, bytes that are no UTF-8.
 */
export function decodePath(bytes: Bytes, at: number, length: number): TargetPath {
  const decoded = new Uint8Array(length);
  let count = 0;
  let hidden = false;
  for (let p = at; p < at + length; p++) {
    let byte = u8(bytes, p);
    if (byte === PERCENT) {
      const high = p + 2 < at + length ? hexValue(u8(bytes, p + 1)) : -1;
      const low = p + 2 < at + length ? hexValue(u8(bytes, p + 2)) : -1;
      if (high < 0 || low < 0) return refused(400);
      byte = high * 16 + low;
      p += 2;
    }
    if (byte === 0) return refused(400);
    if (byte === BACKSLASH || byte < 0x20 || byte === 0x7f) hidden = true;
    decoded[count++] = byte;
  }
  return hidden ? refused(404) : splitPath(decoded.subarray(0, count));
}

/** The `Location` of a path's directory: an absolute path, so encoded that it cannot name another host. */
export function directoryLocation(segments: readonly string[]): string {
  return segments.length === 0 ? '/' : `/${segments.map(encodeURIComponent).join('/')}/`;
}

function splitPath(decoded: Uint8Array): TargetPath {
  let text: string;
  try {
    text = decoder.decode(decoded);
  } catch {
    return refused(404);
  }
  const parts = text.split('/');
  const segments: string[] = [];
  for (const part of parts) {
    if (part === '' || part === '.') continue;
    if (part.startsWith('.')) return refused(404);
    segments.push(part);
  }
  const last = parts[parts.length - 1];
  return { status: 0, segments, directory: last === '' || last === '.' };
}

function refused(status: number): TargetPath {
  return { status, segments: [], directory: false };
}
