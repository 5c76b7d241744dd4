/** How a command that runs ends when it cannot go on: one sentence, exit code 1. */
import type { DeviceError } from '../driver/device.ts';

const EXIT_FAILURE = 1;

/** @param tidy what is to be done in between */
export function exitWith(error: Error, tidy: () => void = () => {}): never {
  console.error(`exonet: ${error.message}`);
  tidy();
  process.exit(EXIT_FAILURE);
}

/** A host whose device is gone for good is closed, and the command ends. */
export function exitOnDeviceFailure(host: { onDeviceFailure: (failure: DeviceError) => void; close(): void }): void {
  host.onDeviceFailure = (failure) => exitWith(failure, () => host.close());
}
