/** Files that are there from the start and never change, in memory: what a simulated server serves. */
import { type FileIdentity, type FileSource, FOUND_FILE, FOUND_NOTHING, type Found, type OpenFile } from './disk.ts';

/** When they were last changed: long before any clock's time. */
const CHANGED_NS = 1_700_000_000_000_000_000n;

export class MemoryFiles implements FileSource {
  private readonly files = new Map<string, { readonly content: Uint8Array; readonly identity: FileIdentity }>();

  /** @param files contents by name, the path below the root without a slash before it */
  constructor(files: Readonly<Record<string, Uint8Array>>) {
    for (const [inode, [name, content]] of Object.entries(files).entries()) {
      const identity = {
        bytes: content.length,
        mtimeNs: CHANGED_NS,
        ctimeNs: CHANGED_NS,
        inode: BigInt(inode),
        device: 0n,
      };
      this.files.set(name, { content, identity });
    }
  }

  async find(segments: readonly string[]): Promise<Found> {
    const name = segments.join('/');
    const file = this.files.get(name);
    if (file === undefined) return { kind: FOUND_NOTHING, realPath: '', identity: null };
    return { kind: FOUND_FILE, realPath: name, identity: file.identity };
  }

  async look(segments: readonly string[]): Promise<FileIdentity | null> {
    return this.files.get(segments.join('/'))?.identity ?? null;
  }

  async open(realPath: string): Promise<OpenFile> {
    const file = this.files.get(realPath);
    if (file === undefined) throw Object.assign(new Error(`there is no ${realPath}`), { code: 'ENOENT' });
    return {
      identity: async () => file.identity,
      read: async (target, at, length, position) => {
        const piece = file.content.subarray(position, position + length);
        target.set(piece, at);
        return piece.length;
      },
      close: async () => {},
    };
  }
}
