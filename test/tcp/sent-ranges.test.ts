import test from 'ava';
import fc from 'fast-check';
import { NO_RANGE, SentRanges } from '../../src/tcp/sent-ranges.ts';
import { type Seq, seqAdd, seqBefore, seqDistance, toSeq } from '../../src/tcp/sequence.ts';
import type { Tcb } from '../../src/tcp/tcb.ts';
import { AWKWARD_STARTS, createTcbAt } from './support.ts';

/** Ranges under a clock that the test moves. */
function create(
  start: number,
  joins = true,
): { ranges: SentRanges; tcb: Tcb; clock: { us: number }; send(bytes: number): void } {
  const clock = { us: 0 };
  const ranges = new SentRanges({ nowUs: () => clock.us }, joins);
  const tcb = createTcbAt(start);
  return {
    ranges,
    tcb,
    clock,
    send(bytes) {
      const end = seqAdd(tcb.sndNxt, bytes);
      ranges.append(tcb, tcb.sndNxt, end);
      tcb.sndNxt = end;
    },
  };
}

/** The ranges of a connection as offsets from `base`. */
function list(ranges: SentRanges, tcb: Tcb, base: Seq): [number, number][] {
  const all: [number, number][] = [];
  for (let range = tcb.sentHead; range !== NO_RANGE; range = ranges.next(range)) {
    all.push([seqDistance(ranges.start(range), base), seqDistance(ranges.end(range), base)]);
  }
  return all;
}

test('what leaves at one time is one range', (t) => {
  for (const start of AWKWARD_STARTS) {
    const { ranges, tcb, clock, send } = create(start);
    send(100);
    send(200);
    clock.us = 5;
    send(50);
    t.deepEqual(list(ranges, tcb, toSeq(start)), [
      [0, 300],
      [300, 350],
    ]);
    t.is(ranges.sentUs(tcb.sentHead), 0);
    t.is(ranges.sentUs(tcb.sentTail), 5);
    ranges.clear(tcb);
    t.is(ranges.live, 0);
    t.is(tcb.sentRanges, 0);
  }
});

test('or a range is a segment', (t) => {
  const { ranges, tcb, send } = create(0, false);
  send(100);
  send(200);
  t.deepEqual(list(ranges, tcb, toSeq(0)), [
    [0, 100],
    [100, 300],
  ]);
  ranges.clear(tcb);
});

test('what is sent again is a range of its own, with its own time', (t) => {
  const { ranges, tcb, clock, send } = create(0);
  send(300);
  const middle = ranges.cutAt(tcb, toSeq(100));
  const last = ranges.divide(tcb, middle, toSeq(200));
  ranges.markLost(tcb, middle);
  t.is(tcb.lostBytes, 100);
  t.true(ranges.isDue(middle));
  clock.us = 9;
  ranges.markRetransmitted(tcb, middle);
  t.false(ranges.isDue(middle));
  t.deepEqual([tcb.lostBytes, tcb.retransmittedBytes], [100, 100]);
  t.deepEqual([ranges.sentUs(middle), ranges.sentUs(last)], [9, 0]);
  ranges.markLost(tcb, middle);
  t.true(ranges.isDue(middle));
  t.is(tcb.retransmittedBytes, 0);
  ranges.markSacked(tcb, middle);
  t.deepEqual([tcb.lostBytes, tcb.sackedBytes], [0, 100]);
  ranges.clear(tcb);
  t.is(tcb.sackedBytes, 0);
});

test('the ranges cover what is in flight without a gap, and the counts are theirs, whatever happens', (t) => {
  const step = fc.record({
    kind: fc.constantFrom('send', 'ack', 'sack', 'lose', 'again', 'join'),
    a: fc.nat(3000),
    b: fc.nat(3000),
  });
  fc.assert(
    fc.property(fc.constantFrom(...AWKWARD_STARTS), fc.array(step, { maxLength: 80 }), (start, steps) => {
      const { ranges, tcb, clock, send } = create(start);
      for (const { kind, a, b } of steps) {
        clock.us++;
        if (kind === 'send') send(1 + a);
        const flight = seqDistance(tcb.sndNxt, tcb.sndUna);
        if (flight === 0) continue;
        const at = seqAdd(tcb.sndUna, a % flight);
        if (kind === 'ack') acknowledge(ranges, tcb, seqAdd(at, 1));
        else if (kind === 'join') joinFirst(ranges, tcb);
        else if (kind !== 'send') mark(ranges, tcb, kind, at, b);
        check(ranges, tcb);
      }
      ranges.clear(tcb);
      return ranges.live === 0 && tcb.sackedBytes === 0 && tcb.lostBytes === 0 && tcb.retransmittedBytes === 0;
    }),
    { numRuns: 500 },
  );
  t.pass();
});

function acknowledge(ranges: SentRanges, tcb: Tcb, ack: Seq): void {
  tcb.sndUna = ack;
  while (tcb.sentHead !== NO_RANGE && !seqBefore(ack, ranges.end(tcb.sentHead))) ranges.removeHead(tcb);
  if (tcb.sentHead !== NO_RANGE) ranges.trimHead(tcb, ack);
}

function joinFirst(ranges: SentRanges, tcb: Tcb): void {
  for (let range = tcb.sentHead; range !== NO_RANGE; range = ranges.next(range)) {
    const next = ranges.next(range);
    if (next === NO_RANGE || !ranges.isSacked(range) || !ranges.isSacked(next)) continue;
    ranges.join(tcb, range);
    return;
  }
}

function mark(ranges: SentRanges, tcb: Tcb, kind: string, at: Seq, bytes: number): void {
  const range = ranges.cutAt(tcb, at);
  if (range === NO_RANGE || ranges.isSacked(range)) return;
  if (bytes > 0 && bytes < ranges.bytes(range)) ranges.divide(tcb, range, seqAdd(ranges.start(range), bytes));
  if (kind === 'sack') ranges.markSacked(tcb, range);
  else if (kind === 'lose') ranges.markLost(tcb, range);
  else if (ranges.isDue(range)) ranges.markRetransmitted(tcb, range);
}

function check(ranges: SentRanges, tcb: Tcb): void {
  let at = tcb.sndUna;
  let count = 0;
  const sums = { sacked: 0, lost: 0 };
  for (let range = tcb.sentHead; range !== NO_RANGE; range = ranges.next(range)) {
    if (ranges.start(range) !== at || ranges.bytes(range) <= 0) throw new Error('a gap');
    at = ranges.end(range);
    count++;
    if (ranges.isSacked(range)) sums.sacked += ranges.bytes(range);
    else if (ranges.isLost(range)) sums.lost += ranges.bytes(range);
  }
  if (at !== tcb.sndNxt || count !== tcb.sentRanges) throw new Error('not all of it');
  if (sums.sacked !== tcb.sackedBytes || sums.lost !== tcb.lostBytes) throw new Error('miscounted');
}
