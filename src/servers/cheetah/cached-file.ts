/**
 * A file as the cache knows it, and the immutable versions of it that are sent.
 *
 * A version's body never changes once it has been read: a file that changes on disk gets another version, and the old one
 * lives on for the responses that began with it. References count those: one for being the file's current version, and
 * one for each region of the body in a send queue.
 */
import { basename } from 'node:path';
import { lookup } from 'mrmime';
import { asciiBytes } from '../http/characters.ts';
import type { Validators } from '../http/conditions.ts';
import { formatHttpDate } from '../http/http-date.ts';
import { bodyFields, PreparedHead } from '../http/response.ts';
import type { FileIdentity } from './disk.ts';

export class CachedFile {
  readonly realPath: string;
  readonly contentType: string;
  /** What it includes can be found. */
  readonly isPage: boolean;
  /** Its version was read for a group, and no client has asked for it yet. */
  readAhead = false;
  /** What the next request gets; null before the first load and after an eviction. */
  version: FileVersion | null = null;
  /** The file is sent past the cache. */
  streamed = false;
  /** Path entries that refer to it. */
  entries = 0;
  /** The load that is running: resolves to the status of its failure, or 0. */
  loading: Promise<number> | null = null;

  constructor(realPath: string) {
    this.realPath = realPath;
    this.contentType = contentTypeOf(realPath);
    this.isPage = this.contentType.startsWith('text/html');
  }
}

export class FileVersion implements Validators {
  readonly file: CachedFile;
  /** Its index in the cache and the token of its regions; -1 for a version that is sent past the cache. */
  token = -1;
  readonly bodyAt: number;
  readonly bodyBytes: number;
  references = 0;
  /** It has been sent since the eviction hand last passed. */
  used = true;
  /** What the file was when it was read. */
  identity: FileIdentity;
  /** Read so soon after its last change that another change might not show in `identity`. */
  racy = false;
  /** Where the body's grid of sums lies, 0 for none. */
  grid = 0;
  readonly etagBytes: Uint8Array;
  readonly lastModified: number;
  /** Heads of the whole file, alone and with the body behind it, and of 304. */
  readonly full: PreparedHead;
  readonly joined: PreparedHead;
  readonly notModified: PreparedHead;
  private readonly validatorFields: string;

  /**
   * @param salt distinguishes versions that size and time do not
   * @param wallSeconds RFC 9110 section 8.8.2.1: no Last-Modified may lie in the future
   */
  constructor(
    file: CachedFile,
    identity: FileIdentity,
    bodyAt: number,
    bodyBytes: number,
    salt: string,
    wallSeconds: number,
  ) {
    this.file = file;
    this.identity = identity;
    this.bodyAt = bodyAt;
    this.bodyBytes = bodyBytes;
    const etag = entityTag(bodyBytes, identity.mtimeNs, salt);
    this.etagBytes = asciiBytes(etag);
    this.lastModified = Math.max(0, Math.min(Number(identity.mtimeNs / 1_000_000_000n), wallSeconds));
    this.validatorFields = `Last-Modified: ${formatHttpDate(this.lastModified)}\r\nETag: ${etag}\r\n`;
    const described = `${bodyFields(file.contentType, bodyBytes)}${this.validatorFields}Accept-Ranges: bytes\r\n`;
    this.full = new PreparedHead(200, described);
    this.joined = new PreparedHead(200, described, bodyAt, bodyBytes);
    this.notModified = new PreparedHead(304, this.validatorFields);
  }

  /** The fields of a 206. */
  rangeFields(first: number, last: number): string {
    const range = `Content-Range: bytes ${first}-${last}/${this.bodyBytes}\r\n`;
    return bodyFields(this.file.contentType, last - first + 1) + range + this.validatorFields;
  }
}

/** A strong entity tag that names the version: a hash of size and modification time in nanoseconds. */
function entityTag(bytes: number, mtimeNs: bigint, salt: string): string {
  let hash = 0xcbf29ce484222325n;
  for (const code of asciiBytes(`${bytes} ${mtimeNs} ${salt}`)) {
    hash = BigInt.asUintN(64, (hash ^ BigInt(code)) * 0x100000001b3n);
  }
  return `"${hash.toString(16).padStart(16, '0')}"`;
}

function contentTypeOf(path: string): string {
  const name = basename(path);
  const type = name.includes('.') ? lookup(name) : undefined;
  if (type === undefined) return 'application/octet-stream';
  return type.startsWith('text/') ? `${type}; charset=utf-8` : type;
}
