import test from 'ava';
import fc from 'fast-check';
import { TCP_BYTES, tcpHeaderBytes } from '../../src/wire/tcp.ts';
import {
  MAX_WINDOW_SCALE,
  parseTcpOptions,
  SACK_BLOCK_BYTES,
  SACK_BYTES,
  TcpOptions,
  writeMss,
  writeSackBlocks,
  writeSackPermitted,
  writeSackPermittedTimestamps,
  writeTimestamps,
  writeWindowScale,
} from '../../src/wire/tcp-options.ts';
import { bytesOfHex, DATA_FRAME, hexOfBytes, SACK_FRAME, SYN_FRAME, watchReads } from './frames.ts';

const TCP_AT = 34;
const OPTIONS_AT = TCP_AT + TCP_BYTES;

/** Parses option bytes that end with the header, which ends with the array. */
function parse(options: Uint8Array, into: TcpOptions): boolean {
  const header = new Uint8Array(TCP_BYTES + options.length);
  header.set(options, TCP_BYTES);
  return parseTcpOptions(header, 0, header.length, into);
}

/** The values that mean "absent". */
function isEmpty(options: TcpOptions): boolean {
  return (
    options.mss === 0 &&
    options.windowScale === -1 &&
    !options.sackPermitted &&
    !options.hasTimestamps &&
    options.tsValue === 0 &&
    options.tsEcho === 0 &&
    options.sackCount === 0
  );
}

test('golden: the options of a SYN', (t) => {
  const options = new TcpOptions();
  t.true(parseTcpOptions(SYN_FRAME, TCP_AT, tcpHeaderBytes(SYN_FRAME, TCP_AT), options));
  t.is(options.mss, 1460);
  t.is(options.windowScale, 7);
  t.true(options.sackPermitted);
  t.true(options.hasTimestamps);
  t.deepEqual([options.tsValue, options.tsEcho, options.sackCount], [0x9abcdef0 | 0, 0, 0]);
});

test('golden: timestamps alone, timestamps with SACK blocks, and each parse forgets the last', (t) => {
  const options = new TcpOptions();
  t.true(parseTcpOptions(SYN_FRAME, TCP_AT, 40, options));
  t.true(parseTcpOptions(DATA_FRAME, TCP_AT, 32, options));
  t.deepEqual([options.mss, options.windowScale, options.sackPermitted], [0, -1, false]);
  t.deepEqual([options.hasTimestamps, options.tsValue, options.tsEcho], [true, 0x9abcdef1 | 0, 1000]);
  t.true(parseTcpOptions(SACK_FRAME, TCP_AT, 52, options));
  t.deepEqual([options.tsValue, options.tsEcho, options.sackCount], [1001, 0x9abcdef1 | 0, 2]);
  t.deepEqual([...options.sackLeft.subarray(0, 2)], [1474, 4370]);
  t.deepEqual([...options.sackRight.subarray(0, 2)], [2922, 5818]);
  t.true(parse(new Uint8Array(0), options));
  t.true(isEmpty(options));
});

test('golden: writers give what Linux sends', (t) => {
  const bytes = new Uint8Array(60).fill(0xee);
  let at = writeMss(bytes, 1, 1460);
  at = writeSackPermittedTimestamps(bytes, at, 0x9abcdef0, 0);
  at = writeWindowScale(bytes, at, 7);
  t.is(hexOfBytes(bytes.subarray(1, at)), hexOfBytes(SYN_FRAME.subarray(OPTIONS_AT)));
  at = writeTimestamps(bytes, 1, 1001, 0x9abcdef1);
  at = writeSackBlocks(bytes, at, new Int32Array([1474, 4370]), new Int32Array([2922, 5818]), 2);
  t.is(hexOfBytes(bytes.subarray(1, at)), hexOfBytes(SACK_FRAME.subarray(OPTIONS_AT)));
  t.is(bytes[at], 0xee);
  t.is(hexOfBytes(bytes.subarray(1, writeSackPermitted(bytes, 1))), '01010402');
});

test('end of options ends them, unknown kinds are skipped, later ones count', (t) => {
  const options = new TcpOptions();
  t.true(parse(bytesOfHex('02040200 00 020405b4 ff'), options));
  t.is(options.mss, 0x200);
  t.true(parse(bytesOfHex('fd04aabb 1e0401ff 020405b4'), options));
  t.is(options.mss, 1460);
  t.true(parse(bytesOfHex('02040200 020405b4'), options));
  t.is(options.mss, 1460);
  t.true(parse(bytesOfHex('01010101'), options));
  t.true(isEmpty(options));
});

test('RFC 7323 section 2.3: a shift above 14 counts as 14', (t) => {
  const options = new TcpOptions();
  for (let shift = 0; shift <= 255; shift++) {
    t.true(parse(Uint8Array.of(1, 3, 3, shift), options));
    t.is(options.windowScale, Math.min(shift, MAX_WINDOW_SCALE));
  }
});

test('impossible lengths stop the parse; what came before stands', (t) => {
  const options = new TcpOptions();
  const bad = [
    '02', // no length byte
    '0200', // length 0 would never advance
    '0201', // shorter than itself
    '020405', // cut value
    '02030505b4',
    '0205000000',
    '030200',
    '0304000000',
    '0403000000',
    '0502',
    '0509000000000000000000',
    '050b0000000000000000000000',
    `0822${'00'.repeat(32)}`,
    '080901020304050607',
    '080b010203040506070809',
    '1e00',
    '1e01',
    '1eff0000',
    `052a${'00'.repeat(40)}`, // more blocks than a header can hold
  ];
  for (const text of bad) {
    t.false(parse(bytesOfHex(`0101 02040200 ${text}`), options), text);
    t.is(options.mss, 0x200, text);
    t.is(options.windowScale, -1, text);
    t.false(options.sackPermitted || options.hasTimestamps, text);
    t.is(options.sackCount, 0, text);
  }
});

test('every cut of good options: no throw, no value made of what is not there', (t) => {
  const options = new TcpOptions();
  for (const frame of [SYN_FRAME, SACK_FRAME]) {
    const whole = frame.subarray(OPTIONS_AT);
    for (let length = 0; length < whole.length; length++) {
      parse(whole.subarray(0, length), options);
      if (options.hasTimestamps) t.true(length >= 12);
      if (options.sackCount > 0) t.fail();
      t.is(options.windowScale, -1);
    }
  }
});

test('hostile bytes: no throw, no read outside the options, values in range', (t) => {
  const interesting = fc.oneof(fc.constantFrom(0, 1, 2, 3, 4, 5, 8, 10, 18, 34, 255), fc.integer({ min: 0, max: 255 }));
  const hostile = fc.array(interesting, { maxLength: 40, size: 'max' });
  fc.assert(
    fc.property(hostile, fc.nat(3), (values, lead) => {
      // The header lies in the middle of other bytes, all of which look like options.
      const header = TCP_BYTES + values.length;
      const around = new Uint8Array(lead + header + 40).fill(8);
      around.set(values, lead + TCP_BYTES);
      const watched = watchReads(around);
      const options = new TcpOptions();
      parseTcpOptions(watched.bytes, lead, header, options);
      t.true(watched.lowest() >= lead + TCP_BYTES);
      t.true(watched.highest() < lead + header);
      t.true(options.windowScale >= -1 && options.windowScale <= MAX_WINDOW_SCALE);
      t.true(options.sackCount >= 0 && options.sackCount <= 4);
      t.is(options.sackLeft.length, 4);
      // In an array that ends with the header the outcome is the same.
      const alone = new TcpOptions();
      const verdict = parse(Uint8Array.from(values), alone);
      t.is(parseTcpOptions(around, lead, header, options), verdict);
      t.deepEqual(options, alone);
    }),
    { numRuns: 5000 },
  );
});

test('what is written is read back, whatever combination and order', (t) => {
  const i32 = fc.integer({ min: -0x80000000, max: 0x7fffffff });
  const mss = fc.option(fc.integer({ min: 1, max: 0xffff }), { nil: undefined });
  const scale = fc.option(fc.integer({ min: 0, max: MAX_WINDOW_SCALE }), { nil: undefined });
  const stamps = fc.option(fc.tuple(i32, i32), { nil: undefined });
  const blocks = fc.array(fc.tuple(i32, i32), { maxLength: 4 });
  const run = fc.property(mss, scale, stamps, blocks, fc.boolean(), (size, shift, times, edges, permitted) => {
    // SACK blocks share a header with timestamps only, and with them just three fit.
    const sacks = size === undefined && shift === undefined && !permitted ? edges.slice(0, times ? 3 : 4) : [];
    const left = Int32Array.from(sacks, (edge) => edge[0]);
    const right = Int32Array.from(sacks, (edge) => edge[1]);
    const bytes = new Uint8Array(TCP_BYTES + 44);
    let at = TCP_BYTES;
    if (size !== undefined) at = writeMss(bytes, at, size);
    if (times !== undefined && permitted) at = writeSackPermittedTimestamps(bytes, at, times[0], times[1]);
    else if (times !== undefined) at = writeTimestamps(bytes, at, times[0], times[1]);
    else if (permitted) at = writeSackPermitted(bytes, at);
    if (shift !== undefined) at = writeWindowScale(bytes, at, shift);
    const before = at;
    if (sacks.length > 0) at = writeSackBlocks(bytes, at, left, right, sacks.length);
    if (sacks.length > 0) t.is(at - before, SACK_BYTES + sacks.length * SACK_BLOCK_BYTES);
    t.is(at % 4, 0);
    t.true(at <= 60);
    const options = new TcpOptions();
    t.true(parseTcpOptions(bytes, 0, at, options));
    t.is(options.mss, size ?? 0);
    t.is(options.windowScale, shift ?? -1);
    t.is(options.sackPermitted, permitted);
    t.is(options.hasTimestamps, times !== undefined);
    t.deepEqual([options.tsValue, options.tsEcho], times ?? [0, 0]);
    t.deepEqual([...options.sackLeft.subarray(0, options.sackCount)], [...left]);
    t.deepEqual([...options.sackRight.subarray(0, options.sackCount)], [...right]);
  });
  fc.assert(run, { numRuns: 1000 });
});
