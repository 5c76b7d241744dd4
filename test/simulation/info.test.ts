/** `tcpInfo`: what a connection says of itself while it sends, loses and waits. */
import { tcpInfo } from '../../src/tcp/info.ts';
import { RawPeer } from '../support/raw-peer.ts';
import { MILLISECOND, SECOND } from '../support/raw-world.ts';
import { simulate } from '../support/simulate.ts';
import { TestUser } from '../support/test-user.ts';

const MSS = 1460;

simulate('a connection tells its state, its times, its windows, and what limits it', (t, world) => {
  const user = new TestUser(world);
  const listener = world.listen(user);
  const peer = new RawPeer(world);
  peer.send({ flags: 'S', mss: MSS, windowScale: 7, sackPermitted: true });
  world.advance(10 * MILLISECOND);
  peer.send();
  listener.close();
  const tcb = user.connection;
  if (tcb === null) throw new Error('not accepted');
  t.like(tcpInfo(tcb), {
    state: 'ESTABLISHED',
    recovery: 'open',
    congestionControl: 'cubic',
    sack: true,
    timestamps: false,
    sendScale: 7,
    mssBytes: MSS,
    srttUs: 10_000,
    minRttUs: 10_000,
    rtoUs: 210_000,
    cwndBytes: 10 * MSS,
    flightBytes: 0,
    limitedBy: 'application',
  });
  world.call(() => user.send(tcb, 20 * MSS));
  t.like(tcpInfo(tcb), { flightBytes: 10 * MSS, unsentBytes: 10 * MSS, limitedBy: 'congestion window' });
  world.advance(10 * MILLISECOND);
  const edge = 1 + 4 * MSS;
  peer.send({ ack: 1, sack: [[1 + MSS, edge]] });
  const lossy = tcpInfo(tcb);
  t.like(lossy, {
    recovery: 'recovery',
    sackedBytes: 3 * MSS,
    lostBytes: MSS,
    retransmissions: 1,
    deliveredBytes: 3 * MSS,
  });
  t.is(lossy.pipeBytes, lossy.flightBytes - 4 * MSS + MSS);
  peer.window = 0;
  peer.send({ ack: 1 + 10 * MSS, data: 100 });
  world.advance(SECOND);
  const closed = tcpInfo(tcb);
  t.like(closed, { recovery: 'open', ackedBytes: 10 * MSS, sendWindowBytes: 0, receivedBytes: 100 });
  t.is(closed.limitedBy, 'receive window');
});
