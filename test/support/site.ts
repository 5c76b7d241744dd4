/** A directory of random files to be fetched, with their digests. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';

export interface SiteFile {
  /** As a URL's path. */
  readonly path: string;
  /** In the file system. */
  readonly file: string;
  readonly contents: Buffer;
  readonly sha256: string;
}

export class Site {
  readonly root: string;

  private constructor(root: string) {
    this.root = root;
  }

  static create(t: ExecutionContext): Site {
    return new Site(temporaryDirectory(t));
  }

  /** Adds a file of random bytes, or of these. */
  add(name: string, contents: number | string): SiteFile {
    const bytes = typeof contents === 'string' ? Buffer.from(contents) : randomBytes(contents);
    const file = join(this.root, name);
    writeFileSync(file, bytes);
    return { path: `/${name}`, file, contents: bytes, sha256: sha256(bytes) };
  }
}

/** A directory that is gone when the test is over. */
export function temporaryDirectory(t: ExecutionContext): string {
  const path = mkdtempSync(join(tmpdir(), 'exonet-'));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
