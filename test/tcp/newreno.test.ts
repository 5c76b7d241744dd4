import test from 'ava';
import fc from 'fast-check';
import { INITIAL_SSTHRESH_BYTES, LOSS_DETECTED, TIMED_OUT } from '../../src/tcp/congestion/congestion.ts';
import { newReno } from '../../src/tcp/congestion/newreno.ts';
import { seqAdd } from '../../src/tcp/sequence.ts';
import type { Tcb } from '../../src/tcp/tcb.ts';
import { createTcb, TestContext } from './support.ts';

const MSS_BYTES = 1000;
const CONTEXT = new TestContext();

function begun(initialSegments = 10): Tcb {
  const tcb = createTcb();
  tcb.mssBytes = MSS_BYTES;
  tcb.cwndBytes = initialSegments * MSS_BYTES;
  tcb.ssthreshBytes = INITIAL_SSTHRESH_BYTES;
  newReno.begin(CONTEXT, tcb);
  return tcb;
}

/** Has so many bytes in flight. */
function fly(tcb: Tcb, bytes: number): void {
  tcb.sndNxt = seqAdd(tcb.sndUna, bytes);
}

/** Acknowledges a whole window, `step` bytes at a time. */
function acknowledgeWindow(tcb: Tcb, step: number): void {
  let left = tcb.cwndBytes;
  while (left > 0) {
    newReno.acknowledged(CONTEXT, tcb, Math.min(step, left));
    left -= step;
  }
}

test('RFC 6928: the initial window', (t) => {
  const tcb = begun();
  t.is(tcb.cwndBytes, 10 * MSS_BYTES);
  t.true(tcb.ssthreshBytes > 2 ** 29);
});

test('RFC 5681 3.1: slow start doubles the window in a round trip', (t) => {
  const tcb = begun();
  for (const expected of [20, 40, 80]) {
    acknowledgeWindow(tcb, MSS_BYTES);
    t.is(tcb.cwndBytes, expected * MSS_BYTES);
  }
});

test('acknowledgments of less than a segment count for what they cover (RFC 3465), so that splitting them gains nothing', (t) => {
  const whole = begun();
  const split = begun();
  acknowledgeWindow(whole, MSS_BYTES);
  acknowledgeWindow(split, 100);
  t.is(split.cwndBytes, whole.cwndBytes);
});

test('an acknowledgment of more than the window no more than doubles it', (t) => {
  const tcb = begun();
  newReno.acknowledged(CONTEXT, tcb, 500 * MSS_BYTES);
  t.is(tcb.cwndBytes, 20 * MSS_BYTES);
});

test('RFC 5681 3.1: congestion avoidance adds about a segment in a round trip, however it is acknowledged', (t) => {
  for (const step of [MSS_BYTES, 2 * MSS_BYTES, 44 * MSS_BYTES]) {
    const tcb = begun();
    tcb.cwndBytes = 44 * MSS_BYTES;
    tcb.ssthreshBytes = 44 * MSS_BYTES;
    for (let trips = 1; trips <= 10; trips++) {
      acknowledgeWindow(tcb, step);
      const gained = tcb.cwndBytes - (44 + trips) * MSS_BYTES;
      t.true(Math.abs(gained) <= 0.05 * trips * MSS_BYTES, `${gained} after ${trips} round trips of ${step}`);
    }
  }
});

test('even a huge window grows by at least a byte', (t) => {
  const tcb = begun();
  tcb.cwndBytes = 2 ** 28;
  tcb.ssthreshBytes = 2 ** 20;
  newReno.acknowledged(CONTEXT, tcb, 1);
  t.is(tcb.cwndBytes, 2 ** 28 + 1);
});

test('RFC 5681 equation 4: a loss halves the flight, to no less than two segments', (t) => {
  for (const cause of [LOSS_DETECTED, TIMED_OUT]) {
    const tcb = begun(50);
    fly(tcb, 40 * MSS_BYTES);
    newReno.reduce(CONTEXT, tcb, cause);
    t.is(tcb.ssthreshBytes, 20 * MSS_BYTES);
    fly(tcb, 3 * MSS_BYTES);
    newReno.reduce(CONTEXT, tcb, cause);
    t.is(tcb.ssthreshBytes, 2 * MSS_BYTES);
    // The window itself is recovery's to set.
    t.is(tcb.cwndBytes, 50 * MSS_BYTES);
  }
});

test('the window stays an integer of at least a segment and below 2^30, whatever happens', (t) => {
  const event = fc.record({
    kind: fc.constantFrom('acknowledged', 'lossDetected', 'timedOut'),
    bytes: fc.integer({ min: 1, max: 2 ** 30 }),
  });
  fc.assert(
    fc.property(fc.array(event, { maxLength: 200 }), (events) => {
      const tcb = begun(1);
      for (const { kind, bytes } of events) {
        if (kind === 'acknowledged') newReno.acknowledged(CONTEXT, tcb, bytes);
        else {
          fly(tcb, bytes);
          newReno.reduce(CONTEXT, tcb, kind === 'lossDetected' ? LOSS_DETECTED : TIMED_OUT);
        }
        if (!(Number.isInteger(tcb.cwndBytes) && tcb.cwndBytes >= MSS_BYTES && tcb.cwndBytes < 2 ** 30))
          t.fail(`${tcb.cwndBytes}`);
        if (!(Number.isInteger(tcb.ssthreshBytes) && tcb.ssthreshBytes >= 2 * MSS_BYTES))
          t.fail(`${tcb.ssthreshBytes}`);
      }
    }),
    { numRuns: 200 },
  );
  t.pass();
});
