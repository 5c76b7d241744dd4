/** Where the program is that people run: built by `make build`, which the tests take for granted. */
import { fileURLToPath } from 'node:url';

export const PROGRAM = fileURLToPath(new URL('../../../dist/cli/main.js', import.meta.url));
