import test from 'ava';
import { beginReduction, reduceProportionally } from '../../src/tcp/prr.ts';
import { seqAdd } from '../../src/tcp/sequence.ts';
import type { Tcb } from '../../src/tcp/tcb.ts';
import { createTcbAt } from './support.ts';

const MSS = 1000;

/** A recovery of `flight` segments, of which one is lost, with a threshold of `ssthresh` segments. */
function recovering(flight: number, ssthresh: number): Tcb {
  const tcb = createTcbAt(-1000);
  tcb.mssBytes = MSS;
  tcb.sndNxt = seqAdd(tcb.sndUna, flight * MSS);
  tcb.ssthreshBytes = ssthresh * MSS;
  tcb.lostBytes = MSS;
  beginReduction(tcb);
  return tcb;
}

/** One more segment is held by the peer; sends what the window allows and returns how many segments that was. */
function deliverOne(tcb: Tcb): number {
  tcb.sackedBytes += MSS;
  reduceProportionally(tcb, MSS, false, false);
  const pipe = (tcb.sndNxt as unknown as number) - (tcb.sndUna as unknown as number) - tcb.sackedBytes - tcb.lostBytes;
  const segments = Math.floor((tcb.cwndBytes - pipe) / MSS);
  tcb.sndNxt = seqAdd(tcb.sndNxt, segments * MSS);
  tcb.prrOutBytes += segments * MSS;
  return segments;
}

test('RFC 6937 3.1: in a round trip the window comes down in proportion, one segment for every two', (t) => {
  const tcb = recovering(20, 10);
  const sent = Array.from({ length: 19 }, () => deliverOne(tcb));
  // The first is the retransmission, which is not held back.
  t.deepEqual(sent.slice(0, 6), [1, 0, 1, 0, 1, 0]);
  t.is(
    sent.reduce((sum, segments) => sum + segments, 0),
    10,
  );
  t.true(tcb.cwndBytes <= 10 * MSS + MSS);
});

test('with CUBIC’s factor seven leave for ten', (t) => {
  const tcb = recovering(100, 70);
  let sent = 0;
  for (let i = 0; i < 90; i++) sent += deliverOne(tcb);
  t.true(Math.abs(sent - 63) <= 1, `${sent}`);
});

test('when more was lost than the window comes down by, as much leaves as is delivered', (t) => {
  const tcb = recovering(20, 10);
  tcb.lostBytes = 15 * MSS;
  // The pipe is below the threshold: conservation (PRR-CRB).
  t.is(deliverOne(tcb), 1);
  t.is(deliverOne(tcb), 1);
});

test('and with progress the window grows back towards the threshold by slow start (PRR-SSRB)', (t) => {
  const tcb = recovering(20, 10);
  tcb.lostBytes = 15 * MSS;
  tcb.prrOutBytes = MSS;
  tcb.prrDeliveredBytes = MSS;
  reduceProportionally(tcb, MSS, true, false);
  t.is(tcb.cwndBytes, 5 * MSS + 2 * MSS);
});
