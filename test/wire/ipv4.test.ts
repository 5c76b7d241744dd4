import test from 'ava';
import fc from 'fast-check';
import {
  DROP_ICMP_QUOTE,
  DROP_IPV4_CHECKSUM,
  DROP_IPV4_HEADER_LENGTH,
  DROP_IPV4_SHORT,
  DROP_IPV4_TOTAL_LENGTH,
  DROP_IPV4_VERSION,
} from '../../src/wire/drop-reasons.ts';
import { ETHERNET_BYTES } from '../../src/wire/ethernet.ts';
import {
  IPV4_BYTES,
  ipv4Check,
  ipv4CheckQuoted,
  ipv4Checksum,
  ipv4DontFragment,
  ipv4FragmentOffset,
  ipv4HeaderBytes,
  ipv4Id,
  ipv4IsFragment,
  ipv4MoreFragments,
  ipv4Protocol,
  ipv4Source,
  ipv4Target,
  ipv4Tos,
  ipv4TotalBytes,
  ipv4Ttl,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
  setIpv4,
  setIpv4Fragment,
} from '../../src/wire/ipv4.ts';
import {
  acceptedTruncations,
  FRAG_NEEDED_FRAME,
  FRAGMENT_FRAME,
  GOLDEN_FRAMES,
  hexOfBytes,
  OPTIONS_FRAME,
  place,
  RST_FRAME,
  SYN_FRAME,
  UDP_FRAME,
} from './frames.ts';

const SYN = SYN_FRAME.subarray(ETHERNET_BYTES);
const OPTIONS = OPTIONS_FRAME.subarray(ETHERNET_BYTES);

/** The packet with one byte replaced and its checksum made right again. */
function alter(packet: Uint8Array, offset: number, value: number): Uint8Array {
  const altered = packet.slice();
  altered[offset] = value;
  let sum = 0;
  for (let i = 0; i < ((altered[0] ?? 0) & 0x0f) * 4; i += 2) {
    if (i !== 10) sum += (altered[i] ?? 0) * 256 + (altered[i + 1] ?? 0);
  }
  const check = 0xffff - (sum % 0xffff || 0xffff);
  altered[10] = check >>> 8;
  altered[11] = check;
  return altered;
}

test('golden: the fields of a SYN', (t) => {
  const bytes = place(SYN, 3);
  t.is(ipv4Check(bytes, 3, SYN.length), 0);
  t.is(ipv4HeaderBytes(bytes, 3), 20);
  t.is(ipv4Tos(bytes, 3), 0);
  t.is(ipv4TotalBytes(bytes, 3), 60);
  t.is(ipv4Id(bytes, 3), 0xbeef);
  t.true(ipv4DontFragment(bytes, 3));
  t.false(ipv4MoreFragments(bytes, 3));
  t.false(ipv4IsFragment(bytes, 3));
  t.is(ipv4FragmentOffset(bytes, 3), 0);
  t.is(ipv4Ttl(bytes, 3), 64);
  t.is(ipv4Protocol(bytes, 3), PROTOCOL_TCP);
  t.is(ipv4Checksum(bytes, 3), 0x6716);
  t.is(ipv4Source(bytes, 3), 0x0a5a0001);
  t.is(ipv4Target(bytes, 3), 0x0a5a0002);
});

test('golden: a header with options, and a fragment', (t) => {
  t.is(ipv4Check(OPTIONS, 0, OPTIONS.length), 0);
  t.is(ipv4HeaderBytes(OPTIONS, 0), 24);
  t.is(ipv4Tos(OPTIONS, 0), 3);
  const fragment = FRAGMENT_FRAME.subarray(ETHERNET_BYTES);
  t.is(ipv4Check(fragment, 0, fragment.length), 0);
  t.true(ipv4IsFragment(fragment, 0));
  t.true(ipv4MoreFragments(fragment, 0));
  t.false(ipv4DontFragment(fragment, 0));
  t.is(ipv4FragmentOffset(fragment, 0), 1480);
});

test('golden: every frame passes, a padded one too', (t) => {
  for (const frame of GOLDEN_FRAMES) {
    if (frame[13] !== 0) continue;
    t.is(ipv4Check(frame, ETHERNET_BYTES, frame.length - ETHERNET_BYTES), 0);
  }
  t.true(RST_FRAME.length - ETHERNET_BYTES > ipv4TotalBytes(RST_FRAME, ETHERNET_BYTES));
});

test('golden: writing headers, checksum included', (t) => {
  const bytes = new Uint8Array(22).fill(0xee);
  setIpv4(bytes, 1, 60, 0xbeef, true, 64, PROTOCOL_TCP, 0x0a5a0001, 0x0a5a0002, 0);
  t.is(hexOfBytes(bytes), `ee${hexOfBytes(SYN.subarray(0, 20))}ee`);
  setIpv4(bytes, 1, 44, 7, false, 64, PROTOCOL_UDP, 0x0a5a0001, 0x0a5a0002, 0);
  setIpv4Fragment(bytes, 1, 1480, true);
  t.is(hexOfBytes(bytes), `ee${hexOfBytes(FRAGMENT_FRAME.subarray(14, 34))}ee`);
  setIpv4Fragment(bytes, 1, 0, false);
  setIpv4(bytes, 1, 33, 0x1c46, false, 64, PROTOCOL_UDP, 0x0a5a0001, 0x0a5a0002, 0);
  t.is(hexOfBytes(bytes), `ee${hexOfBytes(UDP_FRAME.subarray(14, 34))}ee`);
});

test('a cut packet is refused at every length', (t) => {
  t.deepEqual(acceptedTruncations(SYN, ipv4Check), []);
  t.deepEqual(acceptedTruncations(OPTIONS, ipv4Check), []);
  t.is(ipv4Check(SYN, 0, 19), DROP_IPV4_SHORT);
  t.is(ipv4Check(OPTIONS, 0, 23), DROP_IPV4_HEADER_LENGTH);
  t.is(ipv4Check(SYN, 0, 59), DROP_IPV4_TOTAL_LENGTH);
});

test('each wrong field has its reason', (t) => {
  t.is(ipv4Check(alter(SYN, 0, 0x65), 0, SYN.length), DROP_IPV4_VERSION);
  t.is(ipv4Check(alter(SYN, 0, 0x05), 0, SYN.length), DROP_IPV4_VERSION);
  for (let words = 0; words < 5; words++) {
    t.is(ipv4Check(alter(SYN, 0, 0x40 | words), 0, SYN.length), DROP_IPV4_HEADER_LENGTH);
  }
  t.is(ipv4Check(alter(SYN.subarray(0, 59), 0, 0x4f), 0, 59), DROP_IPV4_HEADER_LENGTH);
  t.is(ipv4Check(alter(SYN, 3, 19), 0, SYN.length), DROP_IPV4_TOTAL_LENGTH);
  t.is(ipv4Check(alter(SYN, 3, 61), 0, SYN.length), DROP_IPV4_TOTAL_LENGTH);
  t.is(ipv4Check(alter(OPTIONS, 3, 23), 0, OPTIONS.length), DROP_IPV4_TOTAL_LENGTH);
  t.is(ipv4Check(alter(SYN, 3, 20), 0, SYN.length), 0);
  t.is(ipv4Check(alter(SYN, 8, 3), 0, SYN.length), 0);
});

test('any flipped bit of a header is noticed', (t) => {
  for (const packet of [SYN, OPTIONS]) {
    for (let bit = 0; bit < ipv4HeaderBytes(packet, 0) * 8; bit++) {
      const flipped = packet.slice();
      flipped[bit >>> 3] = (flipped[bit >>> 3] ?? 0) ^ (1 << (bit & 7));
      t.not(ipv4Check(flipped, 0, flipped.length), 0, `bit ${bit}`);
    }
  }
  const flipped = SYN.slice();
  flipped[15] = 2;
  t.is(ipv4Check(flipped, 0, flipped.length), DROP_IPV4_CHECKSUM);
});

test('a quoted header needs itself and eight bytes, whatever its total length and checksum say', (t) => {
  const quote = FRAG_NEEDED_FRAME.slice(ETHERNET_BYTES + 28);
  t.is(quote.length, 28);
  t.not(ipv4Check(quote, 0, quote.length), 0);
  t.is(ipv4CheckQuoted(quote, 0, quote.length), 0);
  t.deepEqual(acceptedTruncations(quote, ipv4CheckQuoted), []);
  quote[10] = 0xff;
  t.is(ipv4CheckQuoted(quote, 0, quote.length), 0);
  t.is(ipv4CheckQuoted(alter(quote, 0, 0x46), 0, quote.length), DROP_ICMP_QUOTE);
  t.is(ipv4CheckQuoted(alter(quote, 0, 0x44), 0, quote.length), DROP_ICMP_QUOTE);
  t.is(ipv4CheckQuoted(alter(quote, 0, 0x65), 0, quote.length), DROP_ICMP_QUOTE);
});

test('what is written passes the check and is read back', (t) => {
  const u8 = fc.integer({ min: 0, max: 0xff });
  const u16 = fc.integer({ min: 0, max: 0xffff });
  const i32 = fc.integer({ min: -0x80000000, max: 0x7fffffff });
  const total = fc.integer({ min: IPV4_BYTES, max: 0xffff });
  fc.assert(
    fc.property(
      fc.nat(5),
      total,
      fc.boolean(),
      fc.tuple(u16, u8, u8, i32, i32, u8),
      fc.option(fc.tuple(fc.integer({ min: 0, max: 0x1fff }), fc.boolean()), { nil: undefined }),
      (at, totalBytes, dontFragment, [id, ttl, protocol, source, target, tos], fragment) => {
        const bytes = new Uint8Array(at + IPV4_BYTES);
        setIpv4(bytes, at, totalBytes, id, dontFragment, ttl, protocol, source, target, tos);
        if (fragment === undefined) {
          t.is(ipv4DontFragment(bytes, at), dontFragment);
          t.false(ipv4IsFragment(bytes, at));
        } else {
          const [units, more] = fragment;
          setIpv4Fragment(bytes, at, units * 8, more);
          t.is(ipv4FragmentOffset(bytes, at), units * 8);
          t.is(ipv4MoreFragments(bytes, at), more);
          t.is(ipv4IsFragment(bytes, at), more || units > 0);
          t.false(ipv4DontFragment(bytes, at));
        }
        t.is(ipv4Check(bytes, at, totalBytes), 0);
        t.is(ipv4HeaderBytes(bytes, at), IPV4_BYTES);
        t.deepEqual(
          [ipv4TotalBytes(bytes, at), ipv4Id(bytes, at), ipv4Ttl(bytes, at), ipv4Protocol(bytes, at)],
          [totalBytes, id, ttl, protocol],
        );
        t.deepEqual([ipv4Source(bytes, at), ipv4Target(bytes, at), ipv4Tos(bytes, at)], [source, target, tos]);
      },
    ),
    { numRuns: 500 },
  );
});

test('random bytes never throw, and nothing accepted reaches past the frame', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80, size: 'max' }), fc.boolean(), (data, plausible) => {
      if (plausible && data.length > 0) data[0] = 0x45;
      if (ipv4Check(data, 0, data.length) === 0) {
        t.true(ipv4HeaderBytes(data, 0) <= ipv4TotalBytes(data, 0));
        t.true(ipv4TotalBytes(data, 0) <= data.length);
      }
      if (ipv4CheckQuoted(data, 0, data.length) === 0) t.true(ipv4HeaderBytes(data, 0) + 8 <= data.length);
      t.pass();
    }),
    { numRuns: 1000 },
  );
});
