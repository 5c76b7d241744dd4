import test from 'ava';
import fc from 'fast-check';
import { backOffRto, sampleFromAck, sampleRtt } from '../../src/tcp/rtt.ts';
import { seqAdd, toSeq } from '../../src/tcp/sequence.ts';
import { DEFAULT_TCP_SETTINGS, type TcpSettings } from '../../src/tcp/settings.ts';
import { createTcb } from './support.ts';

/** RFC 6298's G, and no minimum of our own. */
const PLAIN: TcpSettings = { ...DEFAULT_TCP_SETTINGS, minRtoUs: 1000, maxRtoUs: 60_000_000 };

function measured(...samplesMs: number[]): { srtt: number; rttvar: number; rto: number } {
  const tcb = createTcb();
  for (const sample of samplesMs) sampleRtt(tcb, PLAIN, sample * 1000);
  return { srtt: tcb.srttUs / 1000, rttvar: tcb.rttvarUs / 1000, rto: tcb.rtoUs / 1000 };
}

test('RFC 6298 2.2: the first sample', (t) => {
  // SRTT = R, RTTVAR = R/2, RTO = SRTT + 4 * RTTVAR = 3R.
  t.deepEqual(measured(100), { srtt: 100, rttvar: 50, rto: 300 });
  t.deepEqual(measured(2000), { srtt: 2000, rttvar: 1000, rto: 6000 });
});

test('RFC 6298 2.3: the samples that follow', (t) => {
  // RTTVAR = 3/4 * 50 + 1/4 * |100 - 200| = 62.5; SRTT = 7/8 * 100 + 1/8 * 200 = 112.5; RTO = 112.5 + 250.
  t.deepEqual(measured(100, 200), { srtt: 112.5, rttvar: 62.5, rto: 362.5 });
  // RTTVAR = 3/4 * 62.5 + 1/4 * |112.5 - 100| = 50; SRTT = 7/8 * 112.5 + 12.5 = 110.9375 (rounded to whole microseconds).
  t.deepEqual(measured(100, 200, 100), { srtt: 110.938, rttvar: 50, rto: 310.938 });
  // An equal sample: only the variance falls.
  t.deepEqual(measured(100, 100), { srtt: 100, rttvar: 37.5, rto: 250 });
});

test('the deviation is taken from the old SRTT', (t) => {
  // With the new SRTT (91.25 ms) it would be 52.81.
  t.is(measured(100, 30).rttvar, 55);
});

test('RFC 6298 2.3: the variance counts for at least the granularity of the clock', (t) => {
  const samples = new Array<number>(200).fill(10);
  const { srtt, rttvar, rto } = measured(...samples);
  t.is(srtt, 10);
  t.true(rttvar < 0.01);
  t.is(rto, 11);
});

test('the time-out stays in its limits', (t) => {
  const tcb = createTcb();
  sampleRtt(tcb, DEFAULT_TCP_SETTINGS, 10);
  t.true(tcb.rtoUs >= DEFAULT_TCP_SETTINGS.minRtoUs);
  t.true(tcb.rtoUs <= DEFAULT_TCP_SETTINGS.minRtoUs + 40);
  sampleRtt(tcb, PLAIN, 60_000_000);
  sampleRtt(tcb, PLAIN, 60_000_000);
  t.is(tcb.rtoUs, PLAIN.maxRtoUs);
});

test('a steady round trip is found, from any beginning, and the time-out is never below it', (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 30_000_000 }), { maxLength: 20 }),
      fc.integer({ min: 100, max: 5_000_000 }),
      (before, steady) => {
        const tcb = createTcb();
        for (const sample of before) sampleRtt(tcb, PLAIN, sample);
        for (let i = 0; i < 300; i++) sampleRtt(tcb, PLAIN, steady);
        t.true(Math.abs(tcb.srttUs - steady) <= 8);
        t.true(tcb.rtoUs > steady && tcb.rtoUs <= steady + 1100);
        t.true(Number.isInteger(tcb.srttUs) && Number.isInteger(tcb.rttvarUs) && Number.isInteger(tcb.rtoUs));
      },
    ),
    { numRuns: 50 },
  );
});

test('a sample of nothing or of nonsense leaves sane values', (t) => {
  for (const sample of [0, -5, 2 ** 31 * 1000, Number.MAX_SAFE_INTEGER]) {
    const tcb = createTcb();
    sampleRtt(tcb, PLAIN, sample);
    t.true(tcb.srttUs > 0 && tcb.rttvarUs >= 0, `${sample}`);
    t.true(tcb.rtoUs >= PLAIN.minRtoUs && tcb.rtoUs <= PLAIN.maxRtoUs, `${sample}`);
    sampleRtt(tcb, PLAIN, 1000);
    t.true(tcb.rttvarUs >= 0 && tcb.rtoUs <= PLAIN.maxRtoUs, `${sample}`);
  }
});

test('RFC 6298 5.5: each time-out doubles the next, up to the maximum; a sample ends that', (t) => {
  const tcb = createTcb();
  sampleRtt(tcb, PLAIN, 100_000);
  const times = [];
  for (let i = 0; i < 9; i++) {
    backOffRto(tcb, PLAIN);
    times.push(tcb.rtoUs / 1000);
  }
  t.deepEqual(times, [600, 1200, 2400, 4800, 9600, 19_200, 38_400, 60_000, 60_000]);
  sampleRtt(tcb, PLAIN, 100_000);
  t.is(tcb.rtoUs, 250_000);
});

test('one sample a round trip: the next is of what was sent after it, across 2^32', (t) => {
  const tcb = createTcb();
  const start = toSeq(-10);
  tcb.rttSeq = start;
  tcb.sndNxt = seqAdd(start, 1000);
  sampleFromAck(tcb, PLAIN, start, 60_000, -1);
  t.is(tcb.srttUs, 0);
  sampleFromAck(tcb, PLAIN, seqAdd(start, 100), 80_000, -1);
  t.is(tcb.srttUs, 80_000);
  sampleFromAck(tcb, PLAIN, seqAdd(start, 1000), 160_000, -1);
  t.is(tcb.srttUs, 80_000);
  tcb.sndNxt = seqAdd(start, 2000);
  sampleFromAck(tcb, PLAIN, seqAdd(start, 1001), 160_000, -1);
  t.is(tcb.srttUs, 90_000);
});

test('Karn: what was sent again gives no sample, but by the timestamp that the peer echoes (RFC 7323 4)', (t) => {
  const tcb = createTcb();
  sampleFromAck(tcb, PLAIN, toSeq(1000), -1, -1);
  t.is(tcb.srttUs, 0);
  sampleFromAck(tcb, PLAIN, toSeq(1000), -1, 70_000);
  t.is(tcb.srttUs, 70_000);
});

test('what was measured goes before the echo, whose clock is coarse', (t) => {
  const tcb = createTcb();
  sampleFromAck(tcb, PLAIN, toSeq(1000), 1234, 2000);
  t.is(tcb.srttUs, 1234);
});
