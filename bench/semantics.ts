/** `node build/bench/semantics.js`: prints, as markdown, what is left of TCP's meaning behind each forwarder (root). */
import { forbidden } from '../test/support/namespace.ts';
import { formatSemantics, readSemantics } from '../test/support/semantics.ts';
import { WAYS } from '../test/support/semantics-lab.ts';

const EXIT_FAILURE = 1;

if (forbidden !== undefined) {
  console.error(`semantics: this ${forbidden}`);
  process.exit(EXIT_FAILURE);
}
console.log(formatSemantics(await readSemantics(WAYS)));
