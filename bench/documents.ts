/**
 * The documents that every server serves: a file each, of bytes that no compression makes less of, the same in every run.
 * Memory: the files lie in one directory, which the bench removes.
 */
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SeededRandom } from '../src/runtime/random.ts';

export interface Document {
  /** `100 B`, `10 kB`. */
  readonly label: string;
  readonly bytes: number;
  /** File name, and path of the URL behind the slash. */
  readonly name: string;
  readonly sha256: string;
}

/** Writes a document of each size into the directory. */
export function writeDocuments(directory: string, sizes: readonly number[]): Document[] {
  return sizes.map((bytes) => {
    const content = new Uint8Array(bytes);
    new SeededRandom(bytes).fill(content);
    const name = `${bytes}.bin`;
    writeFileSync(join(directory, name), content);
    return { label: labelOf(bytes), bytes, name, sha256: createHash('sha256').update(content).digest('hex') };
  });
}

function labelOf(bytes: number): string {
  if (bytes >= 1_000_000 && bytes % 1_000_000 === 0) return `${bytes / 1_000_000} MB`;
  return bytes >= 1000 && bytes % 1000 === 0 ? `${bytes / 1000} kB` : `${bytes} B`;
}
