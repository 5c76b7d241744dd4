/**
 * A wire that loses, repeats, reorders and delays frames by a seed: ../shared/tools/wirefault.c, a user-space wire between two
 * interfaces of one namespace, which a checkout may have beside it.
 *
 * The kernel of the test's namespace is at one end, as 10.90.0.1. At the other, in a namespace of its own, is what a test
 * starts there on `TAP_END` or `PACKET_END`, as 10.90.0.2.
 */
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ExecutionContext } from 'ava';
import { execute, until, within } from './commands.ts';
import { ip, Netns, setLinkUp } from './netns.ts';
import { temporaryDirectory } from './site.ts';
import { STACK_ADDRESS, TAP_NAME } from './wire.ts';

const SOURCE = fileURLToPath(new URL('../../../../shared/tools/wirefault.c', import.meta.url));

/** Whether the checkout has the wire beside it. */
export const hasBadWire: boolean = existsSync(SOURCE);
/** What else it takes. */
export const WIRE_COMMANDS: readonly string[] = ['cc', 'ethtool'];

export const KERNEL_ADDRESS = '10.90.0.1';
const FAR = 'far0';
const NEAR = 'near0';
const INNER = 'inner0';
const PACKET = 'pack0';
/** Of the TAP's kernel end, which nobody talks to. */
const TAP_KERNEL_ADDRESS = '10.90.0.254';

/** Arguments of our programs on a TAP that the wire joins; checksums are complete there, for the wire flips bits. */
export const TAP_END: readonly string[] = [
  ...['--device', `tap:${TAP_NAME}`, '--no-offload'],
  ...['--address', `${STACK_ADDRESS}/24`, '--host-address', `${TAP_KERNEL_ADDRESS}/24`],
];
/** The same on a packet socket. */
export const PACKET_END: readonly string[] = [
  ...['--device', `packet:${PACKET}`, '--no-offload'],
  ...['--address', `${STACK_ADDRESS}/24`],
];

export interface WireOptions {
  readonly end: 'tap' | 'packet';
  /** What wirefault is told. */
  readonly faults: readonly string[];
}

/** Lays the kernel's half of the wire: the namespace in which the other end is to be started. Then comes `joinBadWire`. */
export async function layBadWire(t: ExecutionContext): Promise<Netns> {
  const middle = await Netns.create();
  t.teardown(() => middle.remove());
  ip('link', 'add', FAR, 'type', 'veth', 'peer', 'name', NEAR, 'netns', `${middle.pid}`);
  t.teardown(() => ip('link', 'del', FAR));
  ip('addr', 'add', `${KERNEL_ADDRESS}/24`, 'dev', FAR);
  middle.ip('link', 'set', NEAR, 'up');
  setLinkUp(FAR);
  await turnOffloadOff(FAR);
  middle.ip('link', 'add', INNER, 'type', 'veth', 'peer', 'name', PACKET);
  for (const name of [INNER, PACKET]) middle.ip('link', 'set', name, 'up');
  return middle;
}

/** A wire at work. */
export interface BadWire {
  /** Ends it; the frames that it has lost. */
  cut(): Promise<number>;
}

/** Joins both halves; the other end is open already. */
export async function joinBadWire(t: ExecutionContext, middle: Netns, { end, faults }: WireOptions): Promise<BadWire> {
  const program = join(temporaryDirectory(t), 'wirefault');
  const compiled = await execute('cc', ['-O2', '-w', '-o', program, SOURCE]);
  if (compiled.code !== 0) throw new Error(compiled.stderr);
  const joined = end === 'tap' ? TAP_NAME : INNER;
  const wire = middle.spawn(program, [NEAR, joined, ...faults], { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  wire.stderr?.on('data', (text) => {
    said += text;
  });
  await until('the wire to be up', () => said.includes('wirefault up'));
  return {
    cut: async () => {
      const gone = once(wire, 'close');
      wire.kill('SIGTERM');
      await within('the end of the wire', gone);
      return Array.from(said.matchAll(/\bdrop (\d+)/g), ([, count]) => Number(count)).reduce(
        (sum, count) => sum + count,
        0,
      );
    },
  };
}

/** Frames leave the interface as they are to be on a wire: cut, and with complete checksums. */
async function turnOffloadOff(name: string): Promise<void> {
  const off = ['tx', 'tso', 'gso', 'gro'].flatMap((feature) => [feature, 'off']);
  const { code, stderr } = await execute('ethtool', ['-K', name, ...off]);
  if (code !== 0) throw new Error(stderr);
}
