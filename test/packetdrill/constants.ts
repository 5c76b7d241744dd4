/** The names of Linux that scripts use, with their values. */
import * as sockets from '../../src/sockets/posix/constants.ts';
import * as errors from '../../src/sockets/posix/errno.ts';

const MORE: Readonly<Record<string, number>> = {
  IPPROTO_IP: 0,
  SOL_IP: 0,
  SOL_TCP: sockets.IPPROTO_TCP,
  SHUT_RD: 0,
  SHUT_WR: 1,
  SHUT_RDWR: 2,
  SIOCINQ: sockets.FIONREAD,
  MSG_OOB: 1,
  MSG_NOSIGNAL: 0x4000,
  MSG_MORE: 0x8000,
  MSG_EOR: 0x80,
  MSG_ZEROCOPY: 0x4000000,
  O_RDONLY: 0,
  O_WRONLY: 1,
  TCP_NOTSENT_LOWAT: 25,
  TCP_REPAIR: 19,
  TCP_FASTOPEN_KEY: 33,
  TCP_FASTOPEN_NO_COOKIE: 34,
  TCP_INQ: 36,
  SO_PRIORITY: 12,
  SO_MARK: 36,
  SO_TIMESTAMPING: 37,
  SO_MAX_PACING_RATE: 47,
  SO_ZEROCOPY: 60,
  IP_TOS: 1,
  IP_MTU_DISCOVER: 10,
  IP_PMTUDISC_DONT: 0,
  IP_PMTUDISC_DO: 2,
  IP_RECVERR: 11,
  IP_MTU: 14,
  SOCK_DGRAM: 2,
  SOCK_RAW: 3,
  AF_INET6: 10,
  PF_INET: 2,
  IPPROTO_UDP: 17,
  IPPROTO_IPV6: 41,
  EPOLLIN: 1,
  EPOLLOUT: 4,
  EPOLLERR: 8,
  EPOLLHUP: 16,
  EPOLLRDHUP: 0x2000,
  EPOLLET: 0x80000000,
  EPOLLONESHOT: 0x40000000,
  EPOLL_CTL_ADD: 1,
  EPOLL_CTL_DEL: 2,
  EPOLL_CTL_MOD: 3,
};

function numbersOf(module: object): [string, number][] {
  return Object.entries(module).filter((entry): entry is [string, number] => typeof entry[1] === 'number');
}

/** Of a pointer that leads nowhere, which only a script can have. */
export const EFAULT = 14;

const VALUES = new Map([...numbersOf(sockets), ...numbersOf(errors), ...Object.entries(MORE)]);

export function constant(name: string): number | undefined {
  return VALUES.get(name);
}

export function errnoName(errno: number): string {
  if (errno === EFAULT) return 'EFAULT';
  return numbersOf(errors).find(([name, value]) => name.startsWith('E') && value === errno)?.[0] ?? `errno ${errno}`;
}
