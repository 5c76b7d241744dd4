/** What a command line says about TCP: a profile, congestion control, ECN, and whether its decisions are told. */
import { CONGESTION_CONTROLS, type CongestionControlName } from '../tcp/congestion/controls.ts';
import { isTcpProfile, TCP_PROFILES } from '../tcp/profiles.ts';
import { DEFAULT_TCP_SETTINGS, type TcpSettings } from '../tcp/settings.ts';
import { traceLines } from '../tcp/trace.ts';
import { UsageError } from './arguments.ts';

export const TCP_ARGUMENTS = {
  profile: { type: 'string' },
  congestion: { type: 'string' },
  ecn: { type: 'string' },
  trace: { type: 'boolean' },
} as const;

const PROFILE_NAMES = Object.keys(TCP_PROFILES).join(', ');
const CONTROL_NAMES = Object.keys(CONGESTION_CONTROLS).sort().join(', ');
const ECN_MODES: readonly TcpSettings['ecn'][] = ['offer', 'accept', 'off'];

export const TCP_HELP = `  --profile NAME          settings of TCP by name: ${PROFILE_NAMES} (default: the stack's own)
  --congestion NAME       congestion control: ${CONTROL_NAMES} (default ${DEFAULT_TCP_SETTINGS.congestion})
  --ecn MODE              explicit congestion notification: ${ECN_MODES.join(', ')} (default ${DEFAULT_TCP_SETTINGS.ecn})
  --trace                 say why TCP does what it does, a line for each decision, on standard error`;

interface TcpValues {
  readonly profile?: string | undefined;
  readonly congestion?: string | undefined;
  readonly ecn?: string | undefined;
  readonly trace?: boolean | undefined;
}

/** Throws `UsageError`. What is said by name goes before what the profile says. */
export function readTcpSettings({ profile, congestion, ecn, trace }: TcpValues): Partial<TcpSettings> {
  return {
    ...(profile === undefined ? {} : readProfile(profile)),
    ...(congestion === undefined ? {} : { congestion: readCongestion(congestion) }),
    ...(ecn === undefined ? {} : { ecn: readEcn(ecn) }),
    ...(trace === true ? { trace: traceLines((line) => process.stderr.write(`${line}\n`)) } : {}),
  };
}

function readProfile(name: string): Partial<TcpSettings> {
  if (!isTcpProfile(name)) throw new UsageError(`--profile ${name}: there is ${PROFILE_NAMES}.`);
  return TCP_PROFILES[name];
}

function readCongestion(name: string): CongestionControlName {
  if (!Object.hasOwn(CONGESTION_CONTROLS, name))
    throw new UsageError(`--congestion ${name}: there are ${CONTROL_NAMES}.`);
  return name as CongestionControlName;
}

function readEcn(mode: string): TcpSettings['ecn'] {
  const found = ECN_MODES.find((one) => one === mode);
  if (found === undefined) throw new UsageError(`--ecn ${mode}: there are ${ECN_MODES.join(', ')}.`);
  return found;
}
