/** Files of a test's making: slow, failing, or changing while they are read. */
import type { FileIdentity, FileSource, Found, OpenFile } from '../../../src/servers/cheetah/disk.ts';
import { FOUND_FILE, FOUND_NOTHING } from '../../../src/servers/cheetah/disk.ts';

export class FakeFile {
  content: Buffer;
  /** Every change moves it on. */
  mtimeNs = 1_700_000_000_000_000_000n;
  ctimeNs = 1n;
  inode = 1n;

  constructor(content: string | Buffer) {
    this.content = Buffer.from(content);
  }

  change(content: string | Buffer): void {
    this.content = Buffer.from(content);
    this.mtimeNs += 1_000_000n;
    this.ctimeNs++;
  }

  get identity(): FileIdentity {
    const { mtimeNs, ctimeNs, inode } = this;
    return { bytes: this.content.length, mtimeNs, ctimeNs, inode, device: 1n };
  }
}

export class FakeFiles implements FileSource {
  readonly files = new Map<string, FakeFile>();
  /** `find` and `look`. */
  finds = 0;
  opens = 0;
  reads = 0;
  openNow = 0;
  /** Called before each read; may change the file, wait, or throw. */
  beforeRead: (file: FakeFile, position: number) => Promise<void> | void = () => undefined;
  beforeFind: () => Promise<void> | void = () => undefined;

  add(name: string, content: string | Buffer): FakeFile {
    const file = new FakeFile(content);
    this.files.set(`/${name}`, file);
    return file;
  }

  async find(segments: readonly string[]): Promise<Found> {
    this.finds++;
    await this.beforeFind();
    const realPath = `/${segments.join('/')}`;
    const file = this.files.get(realPath);
    if (file === undefined) return { kind: FOUND_NOTHING, realPath: '', identity: null };
    return { kind: FOUND_FILE, realPath, identity: file.identity };
  }

  async look(segments: readonly string[]): Promise<FileIdentity | null> {
    this.finds++;
    await this.beforeFind();
    return this.files.get(`/${segments.join('/')}`)?.identity ?? null;
  }

  async open(realPath: string): Promise<OpenFile> {
    this.opens++;
    const file = this.files.get(realPath);
    if (file === undefined) throw Object.assign(new Error('gone'), { code: 'ENOENT' });
    this.openNow++;
    return {
      identity: async () => file.identity,
      read: async (target, at, length, position) => {
        this.reads++;
        await this.beforeRead(file, position);
        const piece = file.content.subarray(position, position + length);
        target.set(piece, at);
        return piece.length;
      },
      close: async () => {
        this.openNow--;
      },
    };
  }
}
