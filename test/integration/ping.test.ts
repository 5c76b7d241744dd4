/** The kernel's ping against the stack: ARP, IPv4, fragments both ways, ICMP echo. */
import type { ExecutionContext } from 'ava';
import { commandTest, execute } from '../support/commands.ts';
import { findKernelErrors } from '../support/kernel-errors.ts';
import { findLeaks } from '../support/leaks.ts';
import { enterPrivateNetwork, forbidden, ip } from '../support/netns.ts';
import { openStack, STACK_ADDRESS, TAP, WIRES } from '../support/wire.ts';

if (forbidden === undefined) enterPrivateNetwork();

/** Arguments of ping, and how many echoes they ask for. */
const KINDS: readonly (readonly [string, number, readonly string[]])[] = [
  ['plain', 3, ['-i', '0.2']],
  ['as long as a frame takes', 3, ['-i', '0.2', '-s', '1400']],
  ['in fragments', 3, ['-i', '0.2', '-s', '3000']],
  ['as long as IPv4 takes', 3, ['-i', '0.2', '-s', '65507']],
  ['200 in quick succession', 200, ['-i', '0.002']],
];
const ECHOES = KINDS.reduce((sum, [, count]) => sum + count, 0);

for (const wire of WIRES) {
  commandTest(`ping over ${wire.name}`, ['ping'], async (t) => {
    const host = await openStack(t, wire);
    for (const [what, count, args] of KINDS) await ping(t, what, count, args);
    t.deepEqual(findKernelErrors(), []);
    t.is(host.stack.icmp.counters.get('echoReplies'), ECHOES);
    t.deepEqual(findLeaks(host), []);
    t.regex(ip('neigh', 'show', STACK_ADDRESS), /02:00:0a:5a:00:02/);
  });
}

commandTest('ping does not get through where it should not', ['ping'], async (t) => {
  await openStack(t, TAP);
  const { code } = await execute('ping', ['-n', '-c', '1', '-W', '1', '10.90.0.3']);
  t.is(code, 1);
});

async function ping(t: ExecutionContext, what: string, count: number, args: readonly string[]): Promise<void> {
  const { stdout } = await execute('ping', ['-n', '-c', `${count}`, '-W', '5', ...args, STACK_ADDRESS]);
  t.regex(stdout.toString(), new RegExp(`${count} packets transmitted, ${count} received, 0% packet loss`), what);
}
