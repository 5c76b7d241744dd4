/**
 * The networks of the HTTP measurements: a namespace for the load and one for the servers that use sockets, joined by a
 * veth pair. Servers on a TAP device live in the load's namespace, whose kernel is the other end of the device.
 */
import { Lab } from './lab.ts';

/** Addresses of the veth pair: of the servers at large, where TCP is never paced, and where it stays as the kernel has it. */
export const SOCKET_SERVER_ADDRESS = '10.90.9.2';
export const UNPACED_SERVER_ADDRESS = '10.90.8.2';
export const AS_FOUND_SERVER_ADDRESS = '10.90.7.2';
const UNPACED_NETWORK = '10.90.8.0/24';
const AS_FOUND_NETWORK = '10.90.7.0/24';
const CLIENT_ADDRESSES = ['10.90.9.1', '10.90.8.1', '10.90.7.1'];
const SERVER_ADDRESSES = [SOCKET_SERVER_ADDRESS, UNPACED_SERVER_ADDRESS, AS_FOUND_SERVER_ADDRESS];
export const SOCKET_LINK = { space: 'server', name: 'veth0' } as const;

/**
 * Congestion control of the kernel's TCP between the other two addresses, the first that there is: what Linux has unless it
 * is told otherwise, or else what it always has. Some machines are told BBR, which paces every connection by a timer.
 */
const UNPACED_CONTROLS = ['cubic', 'reno'];

/** Makes the namespaces `client` and `server` and the wire between them. */
export async function createHttpLab(serverCore: number, clientCore: number): Promise<Lab> {
  const lab = await Lab.create(['client', 'server'], serverCore, clientCore);
  try {
    const end = (space: string, addresses: readonly string[]) => ({
      space,
      name: SOCKET_LINK.name,
      addresses: addresses.map((address) => `${address}/24`),
    });
    lab.join(end('client', CLIENT_ADDRESSES), end('server', SERVER_ADDRESSES));
    unpaceNetwork(lab, 'server', UNPACED_NETWORK);
  } catch (error) {
    await lab.remove();
    throw error;
  }
  return lab;
}

/**
 * Gives the kernel's TCP the unpaced congestion control towards every network that a namespace is in but the one that stays as
 * found, and returns its name.
 * It goes by the routes: the setting of a namespace may only name what the root namespace allows all.
 */
export function unpace(lab: Lab, space: string): string {
  const networks = lab.sh(space, 'ip -4 route show proto kernel').split('\n').filter(Boolean);
  for (const route of networks) {
    const [network = ''] = route.split(' ');
    if (network !== AS_FOUND_NETWORK) unpaceNetwork(lab, space, network);
  }
  return UNPACED_CONTROLS.find((control) => lab.sh(space, 'ip -4 route show').includes(`congctl ${control}`)) ?? 'none';
}

function unpaceNetwork(lab: Lab, space: string, network: string): void {
  const old = lab.sh(space, `ip -4 route show proto kernel ${network}`);
  const replace = `ip route replace ${old.replace(/ *linkdown/, '')} congctl`;
  lab.sh(space, UNPACED_CONTROLS.map((control) => `${replace} ${control} 2>/dev/null`).join(' || '));
}
