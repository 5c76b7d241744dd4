/** What a command understands of the network's options when it uses the kernel's sockets. */
import type { LogLevel } from '../runtime/log.ts';
import { parseIpv4 } from '../wire/address.ts';
import { UsageError } from './arguments.ts';

export interface SocketOptions {
  /** The address to listen at. */
  readonly host: string;
  readonly logLevel: LogLevel;
}

/** Throws `UsageError` when one of `names` is given that is not among `known`: it would have no effect. */
export function refuseWithSockets(
  values: Readonly<Record<string, unknown>>,
  names: readonly string[],
  known: readonly string[],
): void {
  const given = names.find((name) => values[name] !== undefined && !known.includes(name));
  if (given !== undefined) throw new UsageError(`--${given}: with --sockets this is the kernel's.`);
}

/** An address to listen at, with a prefix length or without. */
export function readHostAddress(text: string | undefined): string {
  if (text === undefined) return '0.0.0.0';
  const [address = ''] = text.replace(/\/\d{1,2}$/, '').split(' ');
  if (parseIpv4(address) === undefined) throw new UsageError(`--address ${text}: must be an address like 10.90.0.2.`);
  return address;
}
