/** Whole prefixes of addresses against the kernel: it is told where they are, finds them by ARP, and talks to each. */
import { openHost } from '../../src/host/open.ts';
import { commandTest, execute, within } from '../support/commands.ts';
import { findKernelErrors } from '../support/kernel-errors.ts';
import { startSink } from '../support/linux-programs.ts';
import { enterPrivateNetwork, forbidden, integrationTest, ip } from '../support/netns.ts';
import { StackPeer } from '../support/stack-peer.ts';

if (forbidden === undefined) enterPrivateNetwork();

const HOST = '10.90.0.1';
const SOURCES = '10.91.0.0/28, 10.92.3.4/30';
const SOME = ['10.91.0.0', '10.91.0.5', '10.91.0.15', '10.92.3.7'];

commandTest('the kernel reaches every address of a prefix', ['ping'], async (t) => {
  const host = openHost('sources', { device: 'tap:exo3', sources: SOURCES });
  t.teardown(() => host.close());
  host.start();
  t.regex(ip('route', 'show', 'dev', 'exo3'), /10\.91\.0\.0\/28 .*scope link/);
  for (const address of SOME) {
    const { stdout } = await execute('ping', ['-n', '-c', '1', '-W', '5', address]);
    t.regex(stdout.toString(), /1 packets transmitted, 1 received/, address);
  }
  t.is((await execute('ping', ['-n', '-c', '1', '-W', '1', '10.90.0.77'])).code, 1);
  t.is(host.stack.environment.counters.get('framesRefused'), 0);
});

integrationTest('connections to the kernel from every address of a prefix', async (t) => {
  const host = openHost('sources', { device: 'tap:exo3', sources: SOURCES });
  t.teardown(() => host.close());
  host.start();
  await startSink(t, null, HOST, 9000);
  for (const source of SOME) {
    const peer = StackPeer.connect(host, HOST, 9000, source);
    peer.write(Buffer.from(`from ${source}`));
    peer.end();
    t.is(await within(source, peer.closed), '', source);
    t.is(JSON.parse(peer.received.toString()).bytes, 5 + source.length);
  }
  t.deepEqual(findKernelErrors(), []);
});

integrationTest('a prefix that the kernel has an address of is refused', async (t) => {
  ip('link', 'set', 'lo', 'up');
  ip('addr', 'add', '10.93.0.9/32', 'dev', 'lo');
  t.teardown(() => ip('addr', 'del', '10.93.0.9/32', 'dev', 'lo'));
  t.throws(() => openHost('sources', { device: 'tap:exo3', sources: '10.93.0.0/24' }), { code: 'EADDRINUSE' });
  t.false(ip('-brief', 'link').includes('exo3'));
});
