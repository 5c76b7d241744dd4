/** The socket calls in simulation: what they return, what waits, and what goes out on the wire. */
import type { ExecutionContext } from 'ava';
import test from 'ava';
import * as c from '../../src/sockets/posix/constants.ts';
import * as e from '../../src/sockets/posix/errno.ts';
import { PosixSockets } from '../../src/sockets/posix/posix-sockets.ts';
import type { Done, Outcome, Result } from '../../src/sockets/posix/result.ts';
import { RawPeer } from '../support/raw-peer.ts';
import { RawWorld, SECOND } from '../support/raw-world.ts';

const PORT = 8080;
const HELLO = Buffer.from('hello');

/** A host with socket calls, and what became of a call that waits. */
class Rig {
  readonly world: RawWorld;
  readonly sockets: PosixSockets;

  constructor(t: ExecutionContext) {
    this.world = new RawWorld();
    this.sockets = new PosixSockets(this.world.host.tcp, this.world.arena, { sendPoolBytes: 1024 * 1024 });
    t.teardown(() => this.world.close());
  }

  /** Makes a call; the result at once, or a box that it will be put into. */
  call<P>(make: (done: Done<P>) => Outcome<P>): { result: Result<P> | null } {
    const box: { result: Result<P> | null } = { result: null };
    box.result = make((result) => {
      box.result = result;
    });
    this.world.settle();
    return box;
  }

  /** A call that does not wait. */
  now<P>(make: (done: Done<P>) => Outcome<P>): Result<P> {
    const { result } = this.call(make);
    if (result === null) throw new Error('the call waits');
    return result;
  }

  socket(flags = 0): number {
    return this.sockets.socket(c.AF_INET, c.SOCK_STREAM | flags, 0).value;
  }

  listener(backlog = 5): number {
    const fd = this.socket();
    this.sockets.bind(fd, 0, PORT);
    this.sockets.listen(fd, backlog);
    return fd;
  }

  /** A peer that has begun a connection and finished the handshake. */
  peer(): RawPeer {
    const peer = new RawPeer(this.world, { hostPort: PORT });
    peer.send({ flags: 'S', mss: 1460 });
    this.world.settle();
    peer.takeAll();
    peer.send();
    this.world.settle();
    return peer;
  }

  /** A connection that was accepted. */
  accepted(): { fd: number; peer: RawPeer; listener: number } {
    const listener = this.listener();
    const peer = this.peer();
    const fd = this.now((done) => this.sockets.accept(listener, done)).value;
    return { fd, peer, listener };
  }

  errorOf(fd: number): number {
    return this.sockets.getsockopt(fd, c.SOL_SOCKET, c.SO_ERROR, 4).payload?.readInt32LE(0) ?? -1;
  }

  poll(fd: number): number {
    const events = c.POLLIN | c.POLLOUT | c.POLLRDHUP;
    return this.now((done: Done<readonly number[]>) => this.sockets.poll(0, [{ fd, events }], done)).payload?.[0] ?? -1;
  }
}

function flagsOf(peer: RawPeer): string[] {
  return peer.takeAll().map(({ flags }) => flags);
}

test('descriptors are the lowest free ones from 3 on, and what is not open is EBADF', (t) => {
  const rig = new Rig(t);
  t.deepEqual([rig.socket(), rig.socket(), rig.socket()], [3, 4, 5]);
  t.deepEqual(
    rig.now((done) => rig.sockets.close(4, done)),
    { value: 0, errno: 0 },
  );
  t.is(rig.socket(), 4);
  t.deepEqual(rig.sockets.listen(9, 1), { value: -1, errno: e.EBADF });
  t.deepEqual(
    rig.now((done) => rig.sockets.close(9, done)),
    { value: -1, errno: e.EBADF },
  );
  t.is(rig.sockets.socket(10, c.SOCK_STREAM, 0).errno, e.EAFNOSUPPORT);
});

test('a listener: accept waits, gives the peer, and a full queue takes no SYN', (t) => {
  const rig = new Rig(t);
  const listener = rig.listener(0);
  const waiting = rig.call((done) => rig.sockets.accept(listener, done));
  t.is(waiting.result, null);
  const peer = rig.peer();
  t.is(waiting.result === null ? -1 : (waiting.result as Result).value, 4);
  t.is((waiting.result as Result<{ port: number }> | null)?.payload?.port, peer.port);
  rig.peer();
  t.is(rig.poll(listener), c.POLLIN);
  const refused = new RawPeer(rig.world, { hostPort: PORT });
  refused.send({ flags: 'S', mss: 1460 });
  rig.world.settle();
  t.deepEqual(flagsOf(refused), []);
  rig.sockets.fcntl(listener, c.F_SETFL, c.O_NONBLOCK);
  t.is(rig.now((done) => rig.sockets.accept(listener, done)).value, 5);
  t.is(rig.now((done) => rig.sockets.accept(listener, done)).errno, e.EAGAIN);
});

test('bind and listen refuse as Linux does', (t) => {
  const rig = new Rig(t);
  rig.listener();
  const fd = rig.socket();
  t.is(rig.sockets.bind(fd, 0x0a000063, PORT).errno, e.EADDRNOTAVAIL);
  t.is(rig.sockets.bind(fd, 0, PORT).errno, e.EADDRINUSE);
  t.is(rig.sockets.bind(fd, 0, PORT + 1).errno, 0);
  t.is(rig.sockets.bind(fd, 0, PORT + 2).errno, e.EINVAL);
  t.is(rig.sockets.listen(fd, 1).errno, 0);
  t.is(rig.now((done) => rig.sockets.connect(fd, rig.world.peerAddress, 80, done)).errno, e.EISCONN);
  t.is(rig.now((done) => rig.sockets.recv(fd, 1, 0, done)).errno, e.ENOTCONN);
  t.is(rig.now((done) => rig.sockets.send(fd, HELLO, 0, done)).errno, e.EPIPE);
});

test('a connect that does not wait: EINPROGRESS, EALREADY, 0, EISCONN', (t) => {
  const rig = new Rig(t);
  const peer = new RawPeer(rig.world, { port: 80 });
  const fd = rig.socket(c.SOCK_NONBLOCK);
  const connect = () => rig.now((done) => rig.sockets.connect(fd, peer.address, peer.port, done)).errno;
  t.is(rig.poll(fd), c.POLLOUT | c.POLLHUP);
  t.is(rig.sockets.bind(fd, 0, 1234).errno, 0);
  t.is(connect(), e.EINPROGRESS);
  t.is(connect(), e.EALREADY);
  t.is(rig.poll(fd), 0);
  t.deepEqual(flagsOf(peer), ['S']);
  peer.send({ flags: 'SA', mss: 1460 });
  rig.world.settle();
  t.is(rig.poll(fd), c.POLLOUT);
  t.is(connect(), 0);
  t.is(connect(), e.EISCONN);
});

test('a refused connect: the error once, then the socket connects anew', (t) => {
  const rig = new Rig(t);
  const peer = new RawPeer(rig.world, { port: 80 });
  const fd = rig.socket();
  rig.sockets.bind(fd, 0, 1234);
  const waiting = rig.call((done) => rig.sockets.connect(fd, peer.address, peer.port, done));
  t.is(waiting.result, null);
  peer.takeAll();
  peer.send({ flags: 'RA' });
  rig.world.settle();
  t.deepEqual(waiting.result, { value: -1, errno: e.ECONNREFUSED });
  t.is(rig.errorOf(fd), 0);
  rig.sockets.fcntl(fd, c.F_SETFL, c.O_NONBLOCK);
  t.is(rig.now((done) => rig.sockets.connect(fd, peer.address, peer.port, done)).errno, e.EINPROGRESS);
});

test('recv waits, looks ahead with MSG_PEEK, and reads the end once the peer has closed', (t) => {
  const rig = new Rig(t);
  const { fd, peer } = rig.accepted();
  const waiting = rig.call((done: Done<Buffer>) => rig.sockets.recv(fd, 100, c.MSG_PEEK, done));
  t.is(waiting.result, null);
  peer.send({ data: HELLO });
  rig.world.settle();
  t.deepEqual(waiting.result, { value: 5, errno: 0, payload: HELLO });
  t.is(rig.sockets.ioctl(fd, c.FIONREAD, 0).payload, 5);
  t.is(rig.poll(fd), c.POLLIN | c.POLLOUT);
  peer.send({ flags: 'FA' });
  rig.world.settle();
  t.is(rig.poll(fd), c.POLLIN | c.POLLOUT | c.POLLRDHUP);
  t.deepEqual(rig.now((done: Done<Buffer>) => rig.sockets.recv(fd, 3, 0, done)).payload, HELLO.subarray(0, 3));
  t.deepEqual(rig.now((done: Done<Buffer>) => rig.sockets.recv(fd, 9, 0, done)).payload, HELLO.subarray(3));
  t.is(rig.now((done) => rig.sockets.recv(fd, 9, 0, done)).value, 0);
});

test('a reset is told once, then there is an end; in CLOSE-WAIT it is EPIPE', (t) => {
  const rig = new Rig(t);
  const { fd, peer, listener } = rig.accepted();
  peer.send({ flags: 'R' });
  rig.world.settle();
  t.is(rig.poll(fd), c.POLLIN | c.POLLOUT | c.POLLERR | c.POLLHUP | c.POLLRDHUP);
  t.is(rig.now((done) => rig.sockets.recv(fd, 1, 0, done)).errno, e.ECONNRESET);
  t.is(rig.now((done) => rig.sockets.recv(fd, 1, 0, done)).value, 0);
  t.is(rig.now((done) => rig.sockets.send(fd, HELLO, 0, done)).errno, e.EPIPE);
  t.is(rig.sockets.shutdown(fd, 1).errno, e.ENOTCONN);
  const other = rig.peer();
  const second = rig.now((done) => rig.sockets.accept(listener, done)).value;
  other.send({ flags: 'FA' });
  rig.world.settle();
  other.send({ flags: 'R' });
  rig.world.settle();
  t.is(rig.errorOf(second), e.EPIPE);
});

test('a full send buffer is EAGAIN or waits, and room comes with acknowledgments', (t) => {
  const rig = new Rig(t);
  const { fd, peer } = rig.accepted();
  const value = Buffer.alloc(4);
  value.writeInt32LE(4096);
  t.is(rig.sockets.setsockopt(fd, c.SOL_SOCKET, c.SO_SNDBUF, value).errno, 0);
  t.is(rig.sockets.getsockopt(fd, c.SOL_SOCKET, c.SO_SNDBUF, 4).payload?.readInt32LE(0), 8192);
  const data = Buffer.alloc(10_000, 'x');
  t.is(rig.now((done) => rig.sockets.send(fd, data, c.MSG_DONTWAIT, done)).value, 8192);
  t.is(rig.now((done) => rig.sockets.send(fd, data, c.MSG_DONTWAIT, done)).errno, e.EAGAIN);
  t.is(rig.sockets.ioctl(fd, c.SIOCOUTQ, 0).payload, 8192);
  t.is(rig.poll(fd), 0);
  const waiting = rig.call((done) => rig.sockets.send(fd, HELLO, 0, done));
  t.is(waiting.result, null);
  peer.takeAll();
  peer.send();
  rig.world.settle();
  t.deepEqual(waiting.result, { value: 5, errno: 0 });
});

test('close sends a FIN, with unread data a reset; SO_LINGER of 0 too; an orphan that is told more resets', (t) => {
  const rig = new Rig(t);
  const { fd, peer, listener } = rig.accepted();
  rig.now((done) => rig.sockets.close(fd, done));
  t.deepEqual(flagsOf(peer), ['FA']);
  peer.send({ data: HELLO });
  rig.world.settle();
  t.true(flagsOf(peer).some((flags) => flags.includes('R')));

  const unread = rig.peer();
  const second = rig.now((done) => rig.sockets.accept(listener, done)).value;
  unread.send({ data: HELLO });
  rig.world.settle();
  unread.takeAll();
  rig.now((done) => rig.sockets.close(second, done));
  t.deepEqual(flagsOf(unread), ['RA']);

  const lingering = rig.peer();
  const third = rig.now((done) => rig.sockets.accept(listener, done)).value;
  rig.sockets.setsockopt(third, c.SOL_SOCKET, c.SO_LINGER, Buffer.from('0100000000000000', 'hex'));
  rig.now((done) => rig.sockets.close(third, done));
  t.deepEqual(flagsOf(lingering), ['RA']);
});

test('poll waits for its time; reset ends everything, and nothing is left', (t) => {
  const rig = new Rig(t);
  const { fd, peer, listener } = rig.accepted();
  const timed = rig.call((done: Done<readonly number[]>) =>
    rig.sockets.poll(
      1000,
      [
        { fd, events: c.POLLIN },
        { fd: 77, events: 0 },
        { fd: -1, events: 0 },
      ],
      done,
    ),
  );
  t.deepEqual(timed.result, { value: 1, errno: 0, payload: [0, c.POLLNVAL, 0] });
  const waiting = rig.call((done: Done<readonly number[]>) => rig.sockets.poll(1000, [{ fd, events: c.POLLIN }], done));
  t.is(waiting.result, null);
  rig.world.advance(2 * SECOND);
  t.deepEqual(waiting.result, { value: 0, errno: 0, payload: [0] });
  const accepting = rig.call((done) => rig.sockets.accept(listener, done));
  const reading = rig.call((done) => rig.sockets.recv(fd, 1, 0, done));
  rig.now((done) => rig.sockets.send(fd, HELLO, 0, done));
  peer.takeAll();
  t.is(rig.sockets.reset().value, 0);
  rig.world.settle();
  t.deepEqual(flagsOf(peer), ['RA']);
  t.is((accepting.result as Result | null)?.errno, e.EINVAL);
  t.is((reading.result as Result | null)?.value, 0);
  t.is(rig.sockets.all.size, 0);
  t.is(rig.sockets.waits.live, 0);
  t.deepEqual(rig.world.leaks(), []);
  t.is(rig.sockets.memory.usedBytes, 0);
});

test('TCP_INFO has the state, the window scales and the round trip where Linux has them', (t) => {
  const rig = new Rig(t);
  const { fd } = rig.accepted();
  const info = rig.sockets.getsockopt(fd, c.IPPROTO_TCP, c.TCP_INFO, 300).payload ?? Buffer.alloc(0);
  t.is(info.length, 248);
  t.is(info[0], c.LINUX_ESTABLISHED);
  t.is(info.readUInt32LE(16), 1460);
  t.is(info.readUInt32LE(80), 10);
  t.is(rig.sockets.getsockopt(fd, c.IPPROTO_TCP, c.TCP_CONGESTION, 16).payload?.toString(), 'cubic'.padEnd(16, '\0'));
  t.is(rig.sockets.setsockopt(fd, c.IPPROTO_TCP, c.TCP_CONGESTION, Buffer.from('reno')).errno, 0);
  t.is(rig.sockets.getsockopt(fd, c.IPPROTO_TCP, c.TCP_CONGESTION, 4).payload?.toString(), 'reno');
  t.is(rig.sockets.setsockopt(fd, c.IPPROTO_TCP, c.TCP_CONGESTION, Buffer.from('swift')).errno, e.ENOENT);
  t.is(rig.sockets.getsockopt(fd, c.IPPROTO_TCP, 99, 4).errno, e.ENOPROTOOPT);
});
