import { strictEqual } from 'node:assert/strict';
import test from 'ava';
import fc from 'fast-check';
import type { Path } from '../../src/libos/path.ts';
import { seqBits, toSeq } from '../../src/tcp/sequence.ts';
import type { Tcb } from '../../src/tcp/tcb.ts';
import { TimeWaitRecords } from '../../src/tcp/time-wait.ts';
import { createTcb } from './support.ts';

function endedConnection(n: number): Tcb {
  const tcb = createTcb();
  tcb.remoteAddress = 0x80000000 | n;
  tcb.remotePort = 65_535 - n;
  tcb.localPort = 32_768 + n;
  tcb.sndNxt = toSeq(n - 5);
  tcb.rcvNxt = toSeq(0x7fffffff + n);
  tcb.tsRecent = n * 0x10000001;
  tcb.tsOffset = -n;
  tcb.timestamps = n % 2 === 0;
  tcb.path = { remoteAddress: n } as Path;
  return tcb;
}

function assertRecordOf(records: TimeWaitRecords, record: number, n: number, expiryUs: number): void {
  const tcb = endedConnection(n);
  strictEqual(records.remoteAddress(record), tcb.remoteAddress);
  strictEqual(records.remotePort(record), tcb.remotePort);
  strictEqual(records.localPort(record), tcb.localPort);
  strictEqual(seqBits(records.sndNxt(record)), n - 5);
  strictEqual(records.rcvNxt(record), tcb.rcvNxt);
  strictEqual(records.window(record), n * 3);
  strictEqual(records.tsRecent(record), (n * 0x10000001) | 0);
  strictEqual(records.tsOffset(record), -n | 0);
  strictEqual(records.timestamps(record), n % 2 === 0);
  strictEqual(records.path(record)?.remoteAddress, n);
  strictEqual(records.expiryUs(record), expiryUs);
}

test('a record says what the connection was', (t) => {
  const records = new TimeWaitRecords(4);
  t.is(records.oldest, -1);
  for (let n = 0; n < 4; n++) {
    const record = records.add(endedConnection(n), n * 3, 1e12 + n);
    t.notThrows(() => assertRecordOf(records, record, n, 1e12 + n));
  }
  t.true(records.full);
  t.is(records.live, 4);
});

test('ports with the highest bit set stay apart', (t) => {
  const records = new TimeWaitRecords(1);
  const tcb = createTcb();
  tcb.remotePort = 0xffff;
  tcb.localPort = 0x8001;
  const record = records.add(tcb, 0xffff, 1);
  t.is(records.remotePort(record), 0xffff);
  t.is(records.localPort(record), 0x8001);
  t.is(records.window(record), 0xffff);
  t.is(records.path(record), null);
});

type Step =
  | { readonly kind: 'add' }
  | { readonly kind: 'remove' | 'restart'; readonly pick: number }
  | { readonly kind: 'expire' };

test('is a queue in order of expiry, whatever is added, removed and started anew', (t) => {
  const step: fc.Arbitrary<Step> = fc.oneof(
    { weight: 3, arbitrary: fc.constant({ kind: 'add' as const }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('remove' as const), pick: fc.nat() }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('restart' as const), pick: fc.nat() }) },
    { weight: 1, arbitrary: fc.constant({ kind: 'expire' as const }) },
  );
  const limit = 12;
  t.notThrows(() =>
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200, size: 'max' }), (steps) => {
        const records = new TimeWaitRecords(limit);
        let model: { record: number; n: number; expiryUs: number }[] = [];
        let n = 0;
        let nowUs = 0;
        for (const one of steps) {
          nowUs++;
          if (one.kind === 'add' && !records.full) {
            const record = records.add(endedConnection(n), n * 3, nowUs);
            strictEqual(
              model.some((entry) => entry.record === record),
              false,
            );
            model.push({ record, n: n++, expiryUs: nowUs });
          } else if (model.length > 0 && one.kind !== 'add') {
            const index = one.kind === 'expire' ? 0 : one.pick % model.length;
            const entry = model[index];
            if (entry === undefined) continue;
            if (one.kind === 'expire') strictEqual(records.oldest, entry.record);
            model = model.filter((other) => other !== entry);
            if (one.kind === 'restart') {
              records.restart(entry.record, nowUs);
              model.push({ ...entry, expiryUs: nowUs });
            } else {
              records.remove(entry.record);
              strictEqual(records.path(entry.record), null);
            }
          }
          strictEqual(records.live, model.length);
          strictEqual(records.full, model.length === limit);
          strictEqual(records.oldest, model[0]?.record ?? -1);
          for (const entry of model) assertRecordOf(records, entry.record, entry.n, entry.expiryUs);
        }
        for (const entry of model) {
          strictEqual(records.oldest, entry.record);
          records.remove(entry.record);
        }
        strictEqual(records.live, 0);
        strictEqual(records.oldest, -1);
      }),
      { numRuns: 200 },
    ),
  );
});
