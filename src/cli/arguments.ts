/** Arguments of the command line: what all commands share, and how a mistake becomes one sentence. */
import { type ParseArgsConfig, parseArgs } from 'node:util';
import { type OpenOptions, OptionError } from '../host/options.ts';
import { LOG_LEVELS } from '../runtime/log.ts';

/** Something the person at the command line got wrong: one sentence, exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

export const NETWORK_ARGUMENTS = {
  device: { type: 'string' },
  address: { type: 'string' },
  'host-address': { type: 'string' },
  gateway: { type: 'string' },
  mtu: { type: 'string' },
  mac: { type: 'string' },
  'no-offload': { type: 'boolean' },
  pcap: { type: 'string' },
  'log-level': { type: 'string' },
} as const;

export const NETWORK_HELP = `  --device tap:NAME       a TAP device, made if it does not exist (default tap:exo0)
  --device packet:NAME    an existing Ethernet interface, such as a veth end
  --address CIDR          address of the stack (default 10.90.0.2/24)
  --host-address CIDR     address of the kernel's end of a TAP (default 10.90.0.1/24)
  --gateway IP            where packets for other networks go (default: nowhere)
  --mtu BYTES             longest IP packet (default 1500, or what the device has)
  --mac MAC               MAC address of the stack (default 02:00 and the address)
  --no-offload            make checksums and segments here, not in the kernel
  --pcap FILE             write every frame to a capture file
  --log-level LEVEL       ${LOG_LEVELS.join(', ')} (default warn)`;

type Values<Options extends NonNullable<ParseArgsConfig['options']>> = ReturnType<
  typeof parseArgs<{ options: Options }>
>['values'];

/** Node's `parseArgs` with its errors as `UsageError`. */
export function parseArguments<Options extends NonNullable<ParseArgsConfig['options']>>(
  args: readonly string[],
  options: Options,
): Values<Options> {
  return parse(args, options, false).values;
}

/** The same for a command that takes more than options. */
export function parseWithOperands<Options extends NonNullable<ParseArgsConfig['options']>>(
  args: readonly string[],
  options: Options,
): { values: Values<Options>; operands: string[] } {
  const { values, positionals } = parse(args, options, true);
  return { values, operands: positionals };
}

function parse<Options extends NonNullable<ParseArgsConfig['options']>>(
  args: readonly string[],
  options: Options,
  allowPositionals: boolean,
): { values: Values<Options>; positionals: string[] } {
  try {
    const { values, positionals } = parseArgs({ args: [...args], options, strict: true, allowPositionals });
    return { values: values as Values<Options>, positionals };
  } catch (error) {
    const sentence = error instanceof Error ? (error.message.split(/\. |\n/)[0] ?? '') : String(error);
    throw new UsageError(`${sentence.replace(/\.$/, '')}.`);
  }
}

/** The arguments of some options in the order they were written, for groups of options that belong together. */
export function readOrder(
  args: readonly string[],
  options: NonNullable<ParseArgsConfig['options']>,
  names: readonly string[],
): { readonly name: string; readonly value: string }[] {
  const { tokens } = parseArgs({ args: [...args], options, strict: true, allowPositionals: false, tokens: true });
  return tokens.flatMap((token) =>
    token.kind === 'option' && names.includes(token.name) ? [{ name: token.name, value: token.value ?? '' }] : [],
  );
}

/** The values of `NETWORK_ARGUMENTS`, for `openHost`. */
export function networkOptions(values: Values<typeof NETWORK_ARGUMENTS>): OpenOptions {
  return {
    device: values.device,
    address: values.address,
    hostAddress: values['host-address'],
    gateway: values.gateway,
    mtu: values.mtu === undefined ? undefined : readInteger('mtu', values.mtu, 0, Number.MAX_SAFE_INTEGER),
    mac: values.mac,
    offload: values['no-offload'] !== true,
    pcap: values.pcap,
    logLevel: values['log-level'],
  };
}

/** A whole number within bounds. Throws `UsageError`. */
export function readInteger(option: string, text: string, lowest: number, highest: number): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= lowest && value <= highest) return value;
  throw new UsageError(`--${option} ${text}: must be a whole number from ${lowest} to ${highest}.`);
}

/** The sentence for an error that is the person's to mend; undefined for any other. */
export function usageSentence(error: unknown): string | undefined {
  if (error instanceof UsageError) return error.message;
  if (!(error instanceof OptionError)) return undefined;
  const option = error.option.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  return `--${option} ${error.problem}`;
}
