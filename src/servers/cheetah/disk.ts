/**
 * The files behind the server: names under a root to what they are, and open files to bytes. Asynchronous throughout, and
 * an interface, so that tests and simulations can serve files that are slow, change at the wrong moment, or do not exist.
 *
 * Nothing outside the root is ever opened for reading: a name is resolved through all its symbolic links and must end up
 * inside, and once it is open the kernel is asked again where it lies, which closes the gap between the two.
 */
import { constants, realpathSync, statSync } from 'node:fs';
import { type FileHandle, open, readlink, realpath, stat } from 'node:fs/promises';

/** What tells one state of a file from another. */
export interface FileIdentity {
  readonly bytes: number;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
  readonly inode: bigint;
  readonly device: bigint;
}

export const FOUND_FILE = 0;
export const FOUND_DIRECTORY = 1;
/** Nothing there, nothing that can be served, or nothing inside the root. */
export const FOUND_NOTHING = 2;
export const FOUND_FORBIDDEN = 3;
/** The system could not say: out of descriptors, an I/O error. */
export const FOUND_TROUBLE = 4;

export interface Found {
  readonly kind: number;
  /** Of a file or directory: its name without symbolic links. */
  readonly realPath: string;
  /** Of a file: what it is now. */
  readonly identity: FileIdentity | null;
}

export interface OpenFile {
  identity(): Promise<FileIdentity>;
  /** Reads up to `length` bytes from `position` into `target[at..]`; 0 at the end of the file. */
  read(target: Uint8Array, at: number, length: number, position: number): Promise<number>;
  close(): Promise<void>;
}

export interface FileSource {
  /** What `segments` name below the root. Never rejects. */
  find(segments: readonly string[]): Promise<Found>;
  /** What the file that `segments` name is now, wherever it lies, or null: enough to tell that it is the one of before. */
  look(segments: readonly string[]): Promise<FileIdentity | null>;
  /** Opens a file by its `realPath`; rejects when it is no regular file inside the root any more. */
  open(realPath: string): Promise<OpenFile>;
}

/** A directory of the file system. */
export class DiskFiles implements FileSource {
  private readonly root: string;

  /** Throws when `root` is no directory that can be read. */
  constructor(root: string) {
    this.root = root;
    if (!statSync(realpathSync(root)).isDirectory()) throw new TypeError(`${root} is not a directory`);
  }

  async find(segments: readonly string[]): Promise<Found> {
    try {
      // The root is resolved each time: a link that is switched to the next release takes effect.
      const [root, real] = await Promise.all([realpath(this.root), realpath([this.root, ...segments].join('/'))]);
      if (!isInside(root, real)) return nothing(FOUND_NOTHING);
      const stats = await stat(real, { bigint: true });
      if (stats.isDirectory()) return { kind: FOUND_DIRECTORY, realPath: real, identity: null };
      if (!stats.isFile()) return nothing(FOUND_NOTHING);
      return { kind: FOUND_FILE, realPath: real, identity: identityOf(stats) };
    } catch (error) {
      return nothing(kindOfError(error));
    }
  }

  async look(segments: readonly string[]): Promise<FileIdentity | null> {
    try {
      const stats = await stat([this.root, ...segments].join('/'), { bigint: true });
      return stats.isFile() ? identityOf(stats) : null;
    } catch {
      return null;
    }
  }

  async open(realPath: string): Promise<OpenFile> {
    // O_NONBLOCK: a pipe that has taken the file's place must not block the thread that opens it.
    const handle = await open(realPath, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      const [root, opened] = await Promise.all([realpath(this.root), readlink(`/proc/self/fd/${handle.fd}`)]);
      if (!isInside(root, opened) || !(await handle.stat()).isFile()) throw notServed();
      return new DiskFile(handle);
    } catch (error) {
      await handle.close();
      throw error;
    }
  }
}

class DiskFile implements OpenFile {
  private readonly handle: FileHandle;

  constructor(handle: FileHandle) {
    this.handle = handle;
  }

  async identity(): Promise<FileIdentity> {
    return identityOf(await this.handle.stat({ bigint: true }));
  }

  async read(target: Uint8Array, at: number, length: number, position: number): Promise<number> {
    const { bytesRead } = await this.handle.read(target, at, length, position);
    return bytesRead;
  }

  close(): Promise<void> {
    return this.handle.close();
  }
}

export function sameIdentity(a: FileIdentity, b: FileIdentity): boolean {
  return sameVersion(a, b) && a.ctimeNs === b.ctimeNs && a.inode === b.inode && a.device === b.device;
}

/** Whether two states would be given one entity tag. */
export function sameVersion(a: FileIdentity, b: FileIdentity): boolean {
  return a.bytes === b.bytes && a.mtimeNs === b.mtimeNs;
}

function identityOf(stats: { size: bigint; mtimeNs: bigint; ctimeNs: bigint; ino: bigint; dev: bigint }): FileIdentity {
  return {
    bytes: Number(stats.size),
    mtimeNs: stats.mtimeNs,
    ctimeNs: stats.ctimeNs,
    inode: stats.ino,
    device: stats.dev,
  };
}

function isInside(root: string, path: string): boolean {
  return path === root || path.startsWith(root.endsWith('/') ? root : `${root}/`);
}

function notServed(): Error {
  return Object.assign(new Error('no regular file inside the root'), { code: 'ENOENT' });
}

function nothing(kind: number): Found {
  return { kind, realPath: '', identity: null };
}

/** The `FOUND_` kind that an error of `open` or of a lookup amounts to. */
export function kindOfError(error: unknown): number {
  switch ((error as NodeJS.ErrnoException).code) {
    case 'ENOENT':
    case 'ENOTDIR':
    case 'ENAMETOOLONG':
    case 'ELOOP':
      return FOUND_NOTHING;
    case 'EACCES':
    case 'EPERM':
      return FOUND_FORBIDDEN;
    default:
      return FOUND_TROUBLE;
  }
}
