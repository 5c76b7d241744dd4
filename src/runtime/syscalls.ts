/**
 * Linux system calls through koffi, and nothing else of the project calls foreign code.
 * Pointers are absolute addresses held in plain numbers (user space ends at 2^47); memory handed to the kernel lives in
 * the arena. Every call returns what the system call returned; after a negative result `errno()` tells why.
 */
import koffi from 'koffi';

const libc = koffi.load('libc.so.6');

export const PROT_NONE = 0;
export const PROT_READ = 1;
export const PROT_WRITE = 2;
export const MAP_SHARED = 0x01;
export const MAP_PRIVATE = 0x02;
export const MAP_FIXED = 0x10;
export const MAP_ANONYMOUS = 0x20;
export const MAP_NORESERVE = 0x4000;

export const O_RDWR = 2;
export const O_NONBLOCK = 0o4000;
export const O_CLOEXEC = 0o2000000;

export const SOCK_DGRAM = 2;
export const SOCK_RAW = 3;
export const SOCK_NONBLOCK = 0o4000;
export const SOCK_CLOEXEC = 0o2000000;
export const MSG_DONTWAIT = 0x40;

export const CLONE_NEWNET = 0x40000000;

export const ERRNO = koffi.os.errno;

export const mmap: (
  address: number,
  length: number,
  prot: number,
  flags: number,
  fd: number,
  offset: number,
) => number = libc.func('uintptr_t mmap(uintptr_t, size_t, int, int, int, int64_t)');
export const munmap: (address: number, length: number) => number = libc.func('int munmap(uintptr_t, size_t)');
export const open: (path: string, flags: number) => number = libc.func('int open(const char *, int)');
export const close: (fd: number) => number = libc.func('int close(int)');
export const ioctl: (fd: number, request: number, argument: number) => number = libc.func(
  'int ioctl(int, unsigned long, uintptr_t)',
);
export const readv: (fd: number, iovecs: number, count: number) => number = libc.func(
  'long readv(int, uintptr_t, int)',
);
export const writev: (fd: number, iovecs: number, count: number) => number = libc.func(
  'long writev(int, uintptr_t, int)',
);
/** `ioctl` whose argument is a structure in a JavaScript buffer, for control paths that have no arena. */
export const ioctlBytes: (fd: number, request: number, argument: Uint8Array) => number = libc.func(
  'int ioctl(int, unsigned long, void *)',
);
export const socket: (domain: number, type: number, protocol: number) => number =
  libc.func('int socket(int, int, int)');
export const bind: (fd: number, address: number, length: number) => number = libc.func(
  'int bind(int, uintptr_t, uint)',
);
export const setsockopt: (fd: number, level: number, name: number, value: number, length: number) => number = libc.func(
  'int setsockopt(int, int, int, uintptr_t, uint)',
);
export const getsockopt: (fd: number, level: number, name: number, value: number, lengthAt: number) => number =
  libc.func('int getsockopt(int, int, int, uintptr_t, uintptr_t)');
export const sendmmsg: (fd: number, messages: number, count: number, flags: number) => number = libc.func(
  'int sendmmsg(int, uintptr_t, uint, int)',
);

/** Moves the calling thread into new namespaces of its own (`CLONE_NEWNET`). */
export const unshare: (flags: number) => number = libc.func('int unshare(int)');
/** Moves the calling thread into the namespace that a descriptor stands for. */
export const setns: (fd: number, type: number) => number = libc.func('int setns(int, int)');

/** errno of the last failed call of this thread; read it before any other foreign call. */
export function errno(): number {
  return koffi.errno();
}

/** The symbolic name of an errno, `EPERM` for 1. */
export function errnoName(code: number): string {
  for (const [name, value] of Object.entries(ERRNO)) if (value === code) return name;
  return `errno ${code}`;
}

export function isMapFailed(address: number): boolean {
  return address >= 2 ** 63;
}

/** Memory at an absolute address as an ArrayBuffer that owns nothing. */
export function viewMemory(address: number, length: number): ArrayBuffer {
  return koffi.view(address, length);
}

/** A descriptor being watched; keep the reference, a collected watch stops firing. */
export interface DescriptorWatch {
  /** Stops firing until `resume`; the kernel no longer keeps the descriptor's readiness for us. */
  pause(): void;
  resume(): void;
  close(): void;
}

/** Calls `onReadable` from the event loop whenever the descriptor is readable (level-triggered). */
export function watchReadable(fd: number, onReadable: () => void): DescriptorWatch {
  const handle = koffi.node.poll(fd, READABLE, onReadable);
  return {
    pause: () => handle.stop(),
    resume: () => handle.start(READABLE, onReadable),
    close: () => handle.close(),
  };
}

const READABLE = { readable: true } as const;
