import { ok } from 'node:assert/strict';
import test from 'ava';
import fc from 'fast-check';
import { type Seq, seqAdd, seqBeforeOrAt, seqDistance } from '../../src/tcp/sequence.ts';
import type { Tcb } from '../../src/tcp/tcb.ts';
import type { Tcp } from '../../src/tcp/tcp.ts';
import {
  advanceWindow,
  emptySegmentSeq,
  receiveWindow,
  receiveWindowField,
  synWindowField,
  windowUpdateDue,
} from '../../src/tcp/window.ts';
import { AWKWARD_STARTS, createTcbAt, tcpWith } from './support.ts';

const MSS_BYTES = 1448;

function open(receiveStart: number, receiveBufferBytes: number, scale: number): { tcp: Tcp; tcb: Tcb } {
  const tcp = tcpWith({ receiveBufferBytes });
  const tcb = createTcbAt(0, receiveStart);
  tcb.mssBytes = MSS_BYTES;
  tcb.rcvScale = scale;
  tcb.windowLimitBytes = receiveBufferBytes;
  tcb.rcvAdv = seqAdd(tcb.rcvNxt, synWindowField(tcp, false));
  return { tcp, tcb };
}

/** The right edge that the peer reads from a segment sent now. */
function announcedEdge(tcb: Tcb): Seq {
  return seqAdd(tcb.rcvNxt, receiveWindowField(tcb) << tcb.rcvScale);
}

test('a SYN says at most what its field holds', (t) => {
  t.is(synWindowField(tcpWith({ receiveBufferBytes: 4096 }), false), 4096);
  t.is(synWindowField(tcpWith({ receiveBufferBytes: 65_536 }), false), 65_535);
  t.is(synWindowField(tcpWith({ receiveBufferBytes: 2 ** 30 }), false), 65_535);
});

test('the first segment after the SYN opens the window to the whole buffer', (t) => {
  const { tcp, tcb } = open(-100, 512 * 1024, 4);
  advanceWindow(tcp, tcb);
  t.is(receiveWindow(tcb), 512 * 1024);
  t.is(receiveWindowField(tcb) << 4, 512 * 1024);
});

test('without scaling the field says no more than 65535', (t) => {
  const { tcp, tcb } = open(0, 512 * 1024, 0);
  advanceWindow(tcp, tcb);
  t.is(receiveWindowField(tcb), 65_535);
});

test('what is unread narrows the window', (t) => {
  const { tcp, tcb } = open(0x7ffffff0, 65_536, 0);
  advanceWindow(tcp, tcb);
  tcb.rcvNxt = seqAdd(tcb.rcvNxt, 60_000);
  advanceWindow(tcp, tcb);
  t.is(receiveWindow(tcb), 5536 - 1);
});

test('RFC 9293 3.8.6.2.2: the edge does not move for less than a segment, nor less than half a small buffer', (t) => {
  const { tcp, tcb } = open(-1000, 65_536, 0);
  tcb.rcvNxt = tcb.rcvAdv;
  tcb.readSeq = seqAdd(tcb.rcvNxt, -65_535);
  tcb.readSeq = seqAdd(tcb.readSeq, MSS_BYTES - 1);
  advanceWindow(tcp, tcb);
  t.is(receiveWindow(tcb), 0);
  tcb.readSeq = seqAdd(tcb.readSeq, 1);
  advanceWindow(tcp, tcb);
  t.is(receiveWindow(tcb), MSS_BYTES);

  const small = open(-1000, 4096, 0);
  small.tcb.mssBytes = 9000;
  small.tcb.rcvNxt = small.tcb.rcvAdv;
  small.tcb.readSeq = seqAdd(small.tcb.rcvNxt, -2049);
  advanceWindow(small.tcp, small.tcb);
  t.is(receiveWindow(small.tcb), 0);
  small.tcb.readSeq = seqAdd(small.tcb.rcvNxt, -2048);
  advanceWindow(small.tcp, small.tcb);
  t.is(receiveWindow(small.tcb), 2048);
});

test('an update is due when two segments more fit in, as long as less than half the buffer is open', (t) => {
  const { tcp, tcb } = open(-1000, 512 * 1024, 4);
  advanceWindow(tcp, tcb);
  tcb.rcvNxt = seqAdd(tcb.rcvNxt, 300_000);
  t.is(receiveWindow(tcb), 512 * 1024 - 300_000);
  tcb.readSeq = seqAdd(tcb.readSeq, 2 * MSS_BYTES - 1);
  t.false(windowUpdateDue(tcp, tcb));
  tcb.readSeq = seqAdd(tcb.readSeq, 1);
  t.true(windowUpdateDue(tcp, tcb));
  advanceWindow(tcp, tcb);
  t.is(receiveWindow(tcb), 512 * 1024 - 300_000 + 2 * MSS_BYTES);
  t.false(windowUpdateDue(tcp, tcb));
  tcb.rcvNxt = seqAdd(tcb.rcvNxt, -100_000);
  t.true(2 * receiveWindow(tcb) >= 512 * 1024);
  tcb.readSeq = tcb.rcvNxt;
  t.false(windowUpdateDue(tcp, tcb));
});

test('a FIN at the very edge of the window leaves a window of nothing, not of less', (t) => {
  const { tcb } = open(-5, 65_536, 0);
  tcb.readSeq = tcb.rcvNxt;
  tcb.rcvNxt = seqAdd(tcb.rcvAdv, 1);
  tcb.finReceived = true;
  t.is(receiveWindow(tcb), 0);
  t.is(receiveWindowField(tcb), 0);
});

type Step = { readonly kind: 'arrive' | 'read'; readonly share: number } | { readonly kind: 'answer' };

test('the edge never moves back, memory is never promised twice, and a reader never leaves the peer waiting', (t) => {
  const share = fc.oneof(fc.constantFrom(0, 1), fc.double({ min: 0, max: 1, noNaN: true }));
  const step: fc.Arbitrary<Step> = fc.oneof(
    fc.record({ kind: fc.constant('arrive' as const), share }),
    fc.record({ kind: fc.constant('read' as const), share }),
    fc.constant({ kind: 'answer' as const }),
  );
  const buffer = fc.constantFrom<[bytes: number, scale: number]>(
    [4096, 0],
    [65_536, 0],
    [65_536, 1],
    [512 * 1024, 4],
    [2 ** 30, 14],
  );
  const start = fc.constantFrom(...AWKWARD_STARTS);
  t.notThrows(() =>
    fc.assert(
      fc.property(start, buffer, fc.array(step, { maxLength: 80, size: 'max' }), (first, [bytes, scale], steps) => {
        const { tcp, tcb } = open(first, bytes, scale);
        for (const one of steps) {
          const edge = tcb.rcvAdv;
          if (one.kind === 'arrive') {
            const room = Math.max(0, seqDistance(announcedEdge(tcb), tcb.rcvNxt));
            tcb.rcvNxt = seqAdd(tcb.rcvNxt, Math.floor(room * one.share));
          } else if (one.kind === 'read') {
            tcb.readSeq = seqAdd(tcb.readSeq, Math.ceil(seqDistance(tcb.rcvNxt, tcb.readSeq) * one.share));
            if (windowUpdateDue(tcp, tcb)) {
              advanceWindow(tcp, tcb);
              ok(seqDistance(tcb.rcvAdv, edge) >= Math.min(bytes >> 1, 2 * MSS_BYTES), 'an update that says little');
            }
          } else {
            advanceWindow(tcp, tcb);
          }
          ok(seqBeforeOrAt(edge, tcb.rcvAdv), 'the edge moved back');
          ok(seqDistance(tcb.rcvAdv, tcb.readSeq) <= bytes, 'more than the buffer');
          ok(seqBeforeOrAt(announcedEdge(tcb), tcb.rcvAdv), 'announced beyond the edge');
          ok(receiveWindowField(tcb) >= 0 && receiveWindowField(tcb) <= 0xffff);
          if (tcb.readSeq === tcb.rcvNxt) {
            // Everything is read: after the update there is room for a segment or half the buffer.
            if (windowUpdateDue(tcp, tcb)) advanceWindow(tcp, tcb);
            ok(receiveWindow(tcb) >= Math.min(bytes >> 1, MSS_BYTES), 'a peer waits for ever');
          }
        }
      }),
      { numRuns: 500 },
    ),
  );
});

/** A connection that has sent `flight` bytes, to a peer that has room for `window`. */
function sending(flight: number, window: number): Tcb {
  const tcb = createTcbAt(-20);
  tcb.sndNxt = seqAdd(tcb.sndUna, flight);
  tcb.sndWnd = window;
  return tcb;
}

test('a segment without text carries SND.NXT', (t) => {
  for (const [flight, window] of [
    [0, 0],
    [0, 1000],
    [1000, 1000],
    [999, 1000],
  ] as const) {
    const tcb = sending(flight, window);
    t.is(emptySegmentSeq(tcb), tcb.sndNxt);
  }
});

test('but nothing beyond the window: the peer would drop it, and the acknowledgment with it', (t) => {
  const shrunk = sending(1, 0);
  t.is(emptySegmentSeq(shrunk), shrunk.sndUna);
  const withFin = sending(1001, 1000);
  t.is(emptySegmentSeq(withFin), seqAdd(withFin.sndUna, 1000));
});

test('RFC 7323 2.4: an edge that was rounded down is not a window that closed', (t) => {
  const tcb = sending(1000, 985);
  tcb.sndScale = 4;
  t.is(emptySegmentSeq(tcb), tcb.sndNxt);
  tcb.sndWnd = 984;
  t.is(emptySegmentSeq(tcb), seqAdd(tcb.sndUna, 984));
});
