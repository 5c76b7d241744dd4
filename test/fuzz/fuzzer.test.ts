import test from 'ava';
import { fuzz, type Progress, STEP_BYTES } from './fuzzer.ts';
import { StackTarget } from './stack-target.ts';

const INPUTS = Number(process.env.EXONET_INPUTS ?? 150);
const SEED = Number(process.env.EXONET_SEED ?? 20_263);

/** Fails on one input of 2^24, which it tells step by step. */
function guardedBy(input: Uint8Array): void {
  const nibble = (at: number) => (input[at] ?? 0) & 15;
  if (nibble(0) !== 4) return;
  if (nibble(1) !== 5) return;
  if (nibble(2) !== 8) return;
  if (nibble(3) !== 15) return;
  if (nibble(5) !== 14) return;
  if (nibble(6) !== 1) return;
  throw new Error('reached');
}

test('coverage guides it to what chance would not find, and it leaves out what is not needed', (t) => {
  t.timeout(120_000);
  const failure = fuzz({
    seed: 1,
    covers: /fuzzer\.test/,
    run: guardedBy,
    goOn: ({ inputs }) => inputs < 100_000,
  });
  t.is(failure?.input.length, STEP_BYTES);
  t.regex(failure?.message ?? '', /reached/);
});

test(`${INPUTS} inputs into the stack`, (t) => {
  t.timeout(300_000);
  t.log(`replay: EXONET_SEED=${SEED} EXONET_INPUTS=${INPUTS} npx ava test/fuzz/fuzzer.test.ts`);
  const target = new StackTarget();
  let last: Progress | null = null;
  const failure = fuzz({
    seed: SEED,
    covers: /\/build\/src\/(tcp|libos|wire)\//,
    run: (input) => target.run(input),
    goOn: (progress) => {
      last = progress;
      return progress.inputs < INPUTS;
    },
  });
  target.close();
  t.log(last);
  t.is(failure, null);
});
