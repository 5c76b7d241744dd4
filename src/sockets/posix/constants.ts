/** Linux's constants of the socket calls: sys/socket.h, netinet/tcp.h, poll.h, fcntl.h, asm/ioctls.h. */

export const AF_UNSPEC = 0;
export const AF_INET = 2;
export const SOCK_STREAM = 1;
/** No type is as large. */
export const SOCK_MAX = 11;
/** Bits of the type that are none: SOCK_NONBLOCK and SOCK_CLOEXEC. */
export const SOCK_NONBLOCK = 0o4000;
export const SOCK_CLOEXEC = 0o2000000;
export const IPPROTO_TCP = 6;

export const SO_ZEROCOPY = 60;
export const MSG_OOB = 0x1;
export const MSG_PEEK = 0x2;
export const MSG_TRUNC = 0x20;
export const MSG_DONTWAIT = 0x40;
export const MSG_WAITALL = 0x100;
export const MSG_ERRQUEUE = 0x2000;
export const MSG_FASTOPEN = 0x20000000;

/** Bits of what is shut down (RCV_SHUTDOWN, SEND_SHUTDOWN): the argument of shutdown(2), plus one. */
export const SHUT_RECEIVE = 1;
export const SHUT_SEND = 2;
export const SHUT_BOTH = 3;

export const F_GETFD = 1;
export const F_SETFD = 2;
export const F_GETFL = 3;
export const F_SETFL = 4;
export const O_RDWR = 2;
export const O_NONBLOCK = 0o4000;

export const FIONREAD = 0x541b;
export const FIONBIO = 0x5421;
export const SIOCOUTQ = 0x5411;
export const SIOCOUTQNSD = 0x894b;
export const SIOCATMARK = 0x8905;

export const POLLIN = 0x1;
export const POLLPRI = 0x2;
export const POLLOUT = 0x4;
export const POLLERR = 0x8;
export const POLLHUP = 0x10;
export const POLLNVAL = 0x20;
export const POLLRDNORM = 0x40;
export const POLLWRNORM = 0x100;
export const POLLRDHUP = 0x2000;

export const SOL_SOCKET = 1;
export const SO_REUSEADDR = 2;
export const SO_TYPE = 3;
export const SO_ERROR = 4;
export const SO_SNDBUF = 7;
export const SO_RCVBUF = 8;
export const SO_KEEPALIVE = 9;
export const SO_OOBINLINE = 10;
export const SO_LINGER = 13;
export const SO_REUSEPORT = 15;
export const SO_RCVTIMEO = 20;
export const SO_SNDTIMEO = 21;
export const SO_ACCEPTCONN = 30;
export const SO_PROTOCOL = 38;
export const SO_DOMAIN = 39;

export const TCP_NODELAY = 1;
export const TCP_MAXSEG = 2;
export const TCP_CORK = 3;
export const TCP_KEEPIDLE = 4;
export const TCP_KEEPINTVL = 5;
export const TCP_KEEPCNT = 6;
export const TCP_SYNCNT = 7;
export const TCP_LINGER2 = 8;
export const TCP_DEFER_ACCEPT = 9;
export const TCP_WINDOW_CLAMP = 10;
export const TCP_INFO = 11;
export const TCP_QUICKACK = 12;
export const TCP_CONGESTION = 13;
export const TCP_USER_TIMEOUT = 18;
export const TCP_FASTOPEN = 23;
export const TCP_TIMESTAMP = 24;
export const TCP_FASTOPEN_CONNECT = 30;

/** States as `tcpi_state` and the kernel number them (net/tcp_states.h). */
export const LINUX_ESTABLISHED = 1;
export const LINUX_SYN_SENT = 2;
export const LINUX_SYN_RECV = 3;
export const LINUX_FIN_WAIT1 = 4;
export const LINUX_FIN_WAIT2 = 5;
export const LINUX_TIME_WAIT = 6;
export const LINUX_CLOSE = 7;
export const LINUX_CLOSE_WAIT = 8;
export const LINUX_LAST_ACK = 9;
export const LINUX_LISTEN = 10;
export const LINUX_CLOSING = 11;
