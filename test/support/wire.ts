/**
 * The wires between a stack and the Linux kernel: a TAP device, or a veth pair whose near end is in a namespace of its own.
 * The kernel's end is in this process's namespace.
 */
import type { ExecutionContext } from 'ava';
import type { Device } from '../../src/driver/device.ts';
import { openPacketSocket } from '../../src/driver/packet-socket.ts';
import { PcapTee } from '../../src/driver/pcap.ts';
import { openTap } from '../../src/driver/tap.ts';
import { Host } from '../../src/host/host.ts';
import { Arena } from '../../src/runtime/arena.ts';
import { MonotonicClock } from '../../src/runtime/clock.ts';
import { type Log, silentLog } from '../../src/runtime/log.ts';
import { SystemRandom } from '../../src/runtime/random.ts';
import type { TcpSettings } from '../../src/tcp/settings.ts';
import { parseIpv4 } from '../../src/wire/address.ts';
import { ip, Netns, setLinkUp } from './netns.ts';

export interface Wire {
  readonly name: string;
  /** `sockets`: no stack of ours at all, but the kernel of a namespace of its own, for programs that can do with that. */
  readonly kind: 'tap' | 'veth' | 'sockets';
  readonly offload: boolean;
}

export const TAP: Wire = { name: 'TAP', kind: 'tap', offload: true };
export const TAP_PLAIN: Wire = { name: 'TAP without offload', kind: 'tap', offload: false };
export const VETH: Wire = { name: 'veth', kind: 'veth', offload: true };
export const VETH_PLAIN: Wire = { name: 'veth without offload', kind: 'veth', offload: false };
export const SOCKETS: Wire = { name: 'sockets', kind: 'sockets', offload: true };
export const WIRES: readonly Wire[] = [TAP, TAP_PLAIN, VETH, VETH_PLAIN];

export const STACK_ADDRESS = '10.90.0.2';
export const KERNEL_ADDRESS = '10.90.0.1';
export const TAP_NAME = 'exo0';
/** The kernel's end of the veth pair, and the stack's. */
export const FAR_NAME = 'far0';
export const NEAR_NAME = 'near0';
const PREFIX_LENGTH = 24;
const MAC_HI = 0x0200;
const ARENA_BYTES = 1024 * 1024 * 1024;

export interface StackOptions {
  readonly mtu?: number;
  readonly gateway?: string;
  readonly tcpSettings?: Partial<TcpSettings>;
  readonly capture?: string;
  readonly log?: Log;
  /** Prepares the namespace of a veth pair's near end. */
  readonly prepareNear?: (near: Netns) => void;
  /** Puts something between the stack and its device. */
  readonly wrap?: (device: Device) => Device;
}

/** A stack of this process at 10.90.0.2, with the kernel of this namespace as 10.90.0.1; closed when the test is over. */
export async function openStack(t: ExecutionContext, wire: Wire, options: StackOptions = {}): Promise<Host> {
  const { mtu, gateway, capture, tcpSettings, log = silentLog, wrap = (device: Device) => device } = options;
  const near = wire.kind === 'veth' ? await addVeth(t, mtu) : null;
  if (near !== null) options.prepareNear?.(near);
  const arena = new Arena(ARENA_BYTES);
  const clock = new MonotonicClock();
  const plain = wrap(openDevice(wire, arena, mtu, near));
  const device = capture === undefined ? plain : new PcapTee(plain, arena.bytes, capture, clock);
  const host = new Host({
    name: 'test',
    arena,
    device,
    clock,
    random: new SystemRandom(),
    log,
    address: parseAddress(STACK_ADDRESS),
    prefixLength: PREFIX_LENGTH,
    gateway: gateway === undefined ? undefined : parseAddress(gateway),
    macHi: MAC_HI,
    macLo: parseAddress(STACK_ADDRESS),
    tcpSettings,
  });
  t.teardown(() => host.close());
  host.start();
  return host;
}

/**
 * A veth pair: `far0` here with 10.90.0.1, `near0` in a namespace of its own, which is returned. Gone when the test is
 * over.
 */
export async function addVeth(t: ExecutionContext, mtu = 1500): Promise<Netns> {
  const near = await Netns.create();
  t.teardown(() => near.remove());
  ip('link', 'add', FAR_NAME, 'mtu', `${mtu}`, 'type', 'veth', 'peer', 'name', NEAR_NAME, 'netns', `${near.pid}`);
  t.teardown(() => {
    if (hasInterface(FAR_NAME)) ip('link', 'del', FAR_NAME);
  });
  near.ip('link', 'set', NEAR_NAME, 'mtu', `${mtu}`, 'up');
  setLinkUp(FAR_NAME);
  ip('addr', 'add', `${KERNEL_ADDRESS}/${PREFIX_LENGTH}`, 'dev', FAR_NAME);
  return near;
}

/** Whether this process's namespace has such an interface. */
export function hasInterface(name: string): boolean {
  return ip('-brief', 'link').split(/\s+|@/).includes(name);
}

/** The name of the kernel's end. */
export function kernelEnd(wire: Wire): string {
  return wire.kind === 'tap' ? TAP_NAME : FAR_NAME;
}

export function parseAddress(text: string): number {
  const address = parseIpv4(text);
  if (address === undefined) throw new Error(`${text} is no address`);
  return address;
}

function openDevice(wire: Wire, arena: Arena, mtu: number | undefined, near: Netns | null): Device {
  const { offload } = wire;
  const shared = { arena, offload, ...(mtu === undefined ? {} : { mtu }) };
  if (near === null) {
    const hostAddress = { address: parseAddress(KERNEL_ADDRESS), prefixLength: PREFIX_LENGTH };
    return openTap({ ...shared, name: TAP_NAME, hostAddress });
  }
  const addresses = [parseAddress(STACK_ADDRESS)];
  return near.within(() => openPacketSocket({ ...shared, name: NEAR_NAME, addresses }));
}
