import test from 'ava';
import { INITIAL_SSTHRESH_BYTES, LOSS_DETECTED, TIMED_OUT } from '../../src/tcp/congestion/congestion.ts';
import { cubic } from '../../src/tcp/congestion/cubic.ts';
import { seqAdd } from '../../src/tcp/sequence.ts';
import type { Tcb } from '../../src/tcp/tcb.ts';
import { createTcbAt, TestContext } from './support.ts';

const MSS = 1000;
const RTT_US = 100_000;

interface Flow {
  readonly tcb: Tcb;
  readonly context: TestContext;
}

function begin(segments: number): Flow {
  const tcb = createTcbAt(-5000);
  tcb.mssBytes = MSS;
  tcb.srttUs = RTT_US;
  tcb.cwndBytes = segments * MSS;
  tcb.ssthreshBytes = INITIAL_SSTHRESH_BYTES;
  const context = new TestContext(5_000_000_000);
  cubic.begin(context, tcb);
  return { tcb, context };
}

/** A round trip in which a whole window is sent and acknowledged, segment by segment. */
function roundTrip({ tcb, context }: Flow, rttUs = RTT_US): void {
  const segments = Math.floor(tcb.cwndBytes / MSS);
  tcb.sndNxt = seqAdd(tcb.sndUna, segments * MSS);
  context.acknowledgment.newestRttUs = rttUs;
  for (let i = 0; i < segments; i++) {
    context.nowUs += rttUs / segments;
    tcb.sndUna = seqAdd(tcb.sndUna, MSS);
    cubic.acknowledged(context, tcb, MSS);
  }
}

function congested(flow: Flow, segments: number, cause = LOSS_DETECTED): void {
  flow.tcb.cwndBytes = segments * MSS;
  cubic.reduce(flow.context, flow.tcb, cause);
  flow.tcb.cwndBytes = flow.tcb.ssthreshBytes;
}

test('RFC 9438 4.6: a loss takes the window to seven tenths, to no less than two segments', (t) => {
  const flow = begin(10);
  congested(flow, 100);
  t.is(flow.tcb.ssthreshBytes, 70 * MSS);
  congested(flow, 2);
  t.is(flow.tcb.ssthreshBytes, 2 * MSS);
});

test('4.2: the window is W_max again K seconds after the loss, and flat around it', (t) => {
  const flow = begin(10);
  congested(flow, 500);
  const k = Math.cbrt((500 * 0.3) / 0.4);
  const start = flow.context.nowUs;
  const windows: [number, number][] = [];
  while (flow.context.nowUs - start < 2 * k * 1e6) {
    roundTrip(flow);
    windows.push([(flow.context.nowUs - start) / 1e6, flow.tcb.cwndBytes / MSS]);
  }
  for (const [seconds, window] of windows) {
    const expected = 0.4 * (seconds - k) ** 3 + 500;
    t.true(Math.abs(window - expected) < 0.04 * expected, `${window} after ${seconds} s, not ${expected}`);
  }
});

test('4.3: where Reno would be faster, as Reno', (t) => {
  const flow = begin(10);
  flow.tcb.srttUs = 1000;
  congested(flow, 20);
  const start = flow.tcb.cwndBytes / MSS;
  for (let i = 0; i < 10; i++) roundTrip(flow, 1000);
  const gained = flow.tcb.cwndBytes / MSS - start;
  // alpha_cubic = 3 (1 - 0.7) / (1 + 0.7) segments a round trip.
  t.true(gained > 4 && gained < 6.5, `${gained}`);
});

test('4.7: a flow that loses before it was where it had been makes room', (t) => {
  const slow = begin(10);
  const fast = begin(10);
  congested(slow, 100);
  congested(fast, 100);
  congested(slow, 80);
  congested(fast, 100);
  for (let i = 0; i < 30; i++) {
    roundTrip(slow);
    roundTrip(fast);
  }
  t.true(slow.tcb.cwndBytes < 0.85 * fast.tcb.cwndBytes);
});

test('a reduction that was for nothing is forgotten', (t) => {
  const flow = begin(10);
  congested(flow, 100);
  for (let i = 0; i < 20; i++) roundTrip(flow);
  const { cwndBytes, ssthreshBytes } = flow.tcb;
  cubic.reduce(flow.context, flow.tcb, TIMED_OUT);
  Object.assign(flow.tcb, { cwndBytes, ssthreshBytes });
  cubic.undo(flow.tcb);
  roundTrip(flow);
  t.true(flow.tcb.cwndBytes >= cwndBytes);
});

test('RFC 9406: slow start slows down when round trips grow longer, and ends five round trips later', (t) => {
  const flow = begin(10);
  for (let i = 0; i < 3; i++) roundTrip(flow);
  t.is(flow.tcb.cwndBytes, 80 * MSS);
  // The delay grows by more than an eighth.
  roundTrip(flow, 130_000);
  const inDelay = flow.tcb.cwndBytes;
  t.true(inDelay < 160 * MSS, `${inDelay}`);
  roundTrip(flow, 130_000);
  const grown = flow.tcb.cwndBytes / inDelay;
  t.true(grown > 1.15 && grown < 1.35, `${grown}`);
  t.is(flow.tcb.ssthreshBytes, INITIAL_SSTHRESH_BYTES);
  for (let i = 0; i < 5; i++) roundTrip(flow, 130_000);
  t.true(flow.tcb.ssthreshBytes < INITIAL_SSTHRESH_BYTES);
});

test('RFC 9406: a delay that goes away was no reason', (t) => {
  const flow = begin(10);
  for (let i = 0; i < 3; i++) roundTrip(flow);
  roundTrip(flow, 130_000);
  roundTrip(flow, 100_000);
  const before = flow.tcb.cwndBytes;
  roundTrip(flow, 100_000);
  t.true(flow.tcb.cwndBytes >= 1.9 * before);
});
