/** The public exports: open a host on a device and use its TCP; or put the parts together yourself. */

export { type Filter, FilterError } from './downloadfilter/language.ts';
export { formatFilter, parseFilter } from './downloadfilter/parse.ts';
export { arpFilter, ipv4Filter, tcp4Filter } from './downloadfilter/protocols.ts';
export { type Device, type DeviceCounters, DeviceError, type DeviceFeatures } from './driver/device.ts';
export type { FaultRates } from './driver/faults.ts';
export { openPacketSocket, type PacketSocketOptions } from './driver/packet-socket.ts';
export { PcapTee } from './driver/pcap.ts';
export { createSimLink, type SimDevice, type SimLink, type SimLinkOptions } from './driver/sim-link.ts';
export { openTap, type TapOptions } from './driver/tap.ts';
export { Environment, type EnvironmentOptions, type EnvironmentProgram } from './exokernel/environment.ts';
export { Exokernel, type ExokernelOptions, turnTogether } from './exokernel/exokernel.ts';
export { ForwardHost, type ForwardHostOptions, type ForwardSideOptions } from './host/forward-host.ts';
export { Host, type HostOptions } from './host/host.ts';
export { openHost } from './host/open.ts';
export { type OpenForwardOptions, openForwardHost } from './host/open-forward.ts';
export { type OpenOptions, OptionError } from './host/options.ts';
export { Stack, type StackAddresses, type StackOptions, type Transport } from './libos/stack.ts';
export { Arena } from './runtime/arena.ts';
export { type Clock, MonotonicClock } from './runtime/clock.ts';
export { createLog, type Log, type LogLevel, silentLog } from './runtime/log.ts';
export { type Random, SeededRandom, SystemRandom } from './runtime/random.ts';
export { VirtualClock } from './runtime/virtual-clock.ts';
export {
  abort,
  close,
  closeSend,
  consume,
  queuedBytes,
  readableAt,
  readableBytes,
  readableLength,
  send,
  sendBufferBytes,
  setCongestionControl,
  takeEvents,
} from './tcp/calls.ts';
export { type LimitedBy, type TcpInfo, tcpInfo } from './tcp/info.ts';
export type { Listener } from './tcp/listener.ts';
export { TCP_PROFILES, type TcpProfileName } from './tcp/profiles.ts';
export { DEFAULT_TCP_SETTINGS, type TcpSettings } from './tcp/settings.ts';
export {
  type ConnectionError,
  EVENT_CLOSED,
  EVENT_CONNECTED,
  EVENT_PEER_CLOSED,
  EVENT_READABLE,
  EVENT_WRITABLE,
  type RegionOwner,
  type Tcb,
  type TcpUser,
} from './tcp/tcb.ts';
export { Tcp } from './tcp/tcp.ts';
export { formatIpv4, parseIpv4 } from './wire/address.ts';
