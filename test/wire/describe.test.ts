import test from 'ava';
import fc from 'fast-check';
import { describeFrame } from '../../src/wire/describe.ts';
import {
  fillIcmpChecksum,
  ICMP_CODE_REASSEMBLY,
  ICMP_CODE_TTL,
  ICMP_ECHO_REPLY,
  ICMP_TIME_EXCEEDED,
  ICMP_UNREACHABLE,
  setIcmpEcho,
  setIcmpError,
} from '../../src/wire/icmp.ts';
import { setIpv4 } from '../../src/wire/ipv4.ts';
import * as frames from './frames.ts';
import { bytesOfHex, GOLDEN_FRAMES, place } from './frames.ts';

const ICMP_AT = 34;

function describe(frame: Uint8Array): string {
  return describeFrame(place(frame, 5), 5, frame.length);
}

test('golden strings', (t) => {
  t.deepEqual(GOLDEN_FRAMES.map(describe), [
    'ARP, Request who-has 10.90.0.2 tell 10.90.0.1, length 28',
    'ARP, Reply 10.90.0.2 is-at 02:00:5e:5a:00:02, length 46',
    'IP 10.90.0.1 > 10.90.0.2: ICMP echo request, id 4660, seq 7, length 31',
    'IP 10.90.0.1 > 10.90.0.2: ICMP 10.90.0.1 udp port 53 unreachable, length 36',
    'IP 10.90.0.9 > 10.90.0.2: ICMP 10.90.0.1 unreachable - need to frag (mtu 1400), length 36',
    'IP 10.90.0.1.5353 > 10.90.0.2.53: UDP, length 5',
    'IP 10.90.0.1.40000 > 10.90.0.2.80: Flags [S], seq 4294967294, win 64240, ' +
      'options [mss 1460,sackOK,TS val 2596069104 ecr 0,nop,wscale 7], length 0',
    'IP 10.90.0.2.80 > 10.90.0.1.40000: Flags [S.], seq 268435456, ack 4294967295, win 65160, ' +
      'options [mss 1460,sackOK,TS val 1000 ecr 2596069104,nop,wscale 8], length 0',
    'IP 10.90.0.1.40000 > 10.90.0.2.80: Flags [P.], seq 4294967295:26, ack 268435457, win 502, ' +
      'options [nop,nop,TS val 2596069105 ecr 1000], length 27',
    'IP 10.90.0.2.80 > 10.90.0.1.40000: Flags [.], ack 26, win 509, ' +
      'options [nop,nop,TS val 1001 ecr 2596069105,nop,nop,sack 2 {1474:2922}{4370:5818}], length 0',
    'IP 10.90.0.2.80 > 10.90.0.1.40000: Flags [R], seq 268435457, win 0, length 0',
    'IP 10.90.0.1.1 > 10.90.0.2.2: Flags [F.U], seq 3, ack 4, win 5, urg 9, length 0',
    'IP 10.90.0.1 > 10.90.0.2: udp (frag 7:24@1480+)',
  ]);
});

test('ICMP of other types and codes', (t) => {
  const frame = frames.PORT_UNREACHABLE_FRAME.slice();
  const length = frame.length - ICMP_AT;
  const lines: string[] = [];
  const add = (): void => {
    fillIcmpChecksum(frame, ICMP_AT, length);
    lines.push(describe(frame).replace('IP 10.90.0.1 > 10.90.0.2: ', ''));
  };
  for (const code of [0, 1, 2, 9]) {
    setIcmpError(frame, ICMP_AT, ICMP_UNREACHABLE, code, 0);
    add();
  }
  setIcmpError(frame, ICMP_AT, ICMP_TIME_EXCEEDED, ICMP_CODE_TTL, 0);
  add();
  setIcmpError(frame, ICMP_AT, ICMP_TIME_EXCEEDED, ICMP_CODE_REASSEMBLY, 0);
  add();
  setIcmpError(frame, ICMP_AT, 13, 5, 0);
  add();
  setIcmpEcho(frame, ICMP_AT, ICMP_ECHO_REPLY, 1, 2);
  add();
  setIcmpError(frame, ICMP_AT, ICMP_UNREACHABLE, 3, 0);
  frame[ICMP_AT + 8] = 0x60;
  add();
  t.deepEqual(lines, [
    'ICMP net 10.90.0.1 unreachable, length 36',
    'ICMP host 10.90.0.1 unreachable, length 36',
    'ICMP 10.90.0.1 protocol 17 unreachable, length 36',
    'ICMP 10.90.0.1 unreachable code 9, length 36',
    'ICMP time exceeded in-transit, length 36',
    'ICMP ip reassembly time exceeded, length 36',
    'ICMP type 13 code 5, length 36',
    'ICMP echo reply, id 1, seq 2, length 36',
    'ICMP unreachable code 3, length 36',
  ]);
});

test('what is not known, and what is refused', (t) => {
  t.is(
    describe(bytesOfHex('3333000000fb 02005e5a0001 86dd 6000')),
    '02:00:5e:5a:00:01 > 33:33:00:00:00:fb, ethertype 0x86dd, length 16',
  );
  t.is(describe(bytesOfHex('3333')), 'ethernet [ethernet-short], length 2');
  t.is(describe(frames.ARP_REQUEST_FRAME.subarray(0, 41)), 'ARP [arp-short], length 27');
  t.is(describe(frames.SYN_FRAME.subarray(0, 60)), 'IP [ipv4-total-length], length 46');

  const frame = frames.UDP_FRAME.slice();
  setIpv4(frame, 14, 33, 1, false, 64, 47, 1, 2, 0);
  t.is(describe(frame), 'IP 0.0.0.1 > 0.0.0.2: ip-proto-47 13');
  setIpv4(frame, 14, 32, 1, false, 64, 17, 1, 2, 0);
  t.is(describe(frame), 'IP 0.0.0.1 > 0.0.0.2: UDP [udp-length], length 12');
  setIpv4(frame, 14, 33, 1, false, 64, 6, 1, 2, 0);
  t.is(describe(frame), 'IP 0.0.0.1 > 0.0.0.2: TCP [tcp-short], length 13');
  setIpv4(frame, 14, 33, 1, false, 64, 1, 1, 2, 0);
  t.is(describe(frame), 'IP 0.0.0.1 > 0.0.0.2: ICMP [icmp-checksum], length 13');
});

test('options that are broken, unknown or ended', (t) => {
  const frame = frames.DATA_FRAME.slice();
  const optionsAt = 54;
  const show = (hex: string): string => {
    frame.set(bytesOfHex(hex), optionsAt);
    return describe(frame).replace(/.*options /, '');
  };
  t.is(show('fd04aabb 01010101 01010000'), '[unknown-253 4,nop,nop,nop,nop,nop,nop,eol], length 27');
  t.is(show('02040200 03000000 00000000'), '[mss 512,[bad opt]], length 27');
  t.is(show('01010101 01010101 01010102'), '[nop,nop,nop,nop,nop,nop,nop,nop,nop,nop,nop,[bad opt]], length 27');
  frame[47] = 0;
  t.true(describe(frame).includes('Flags [none], '));
  frame[47] = 0xff;
  t.true(describe(frame).includes('Flags [FSRP.UEW], '));
});

test('no frame throws: cut, flipped or random', (t) => {
  for (const frame of GOLDEN_FRAMES) {
    for (let length = 0; length <= frame.length; length++) {
      t.true(describeFrame(frame.slice(0, length), 0, length).length > 0);
    }
  }
  const flips = fc.array(fc.tuple(fc.nat(200), fc.integer({ min: 0, max: 255 })), { maxLength: 6 });
  fc.assert(
    fc.property(fc.constantFrom(...GOLDEN_FRAMES), flips, fc.nat(200), (golden, changes, cut) => {
      const frame = golden.slice(0, Math.max(golden.length - cut, 0));
      for (const [at, value] of changes) if (at < frame.length) frame[at] = value;
      // The checksum is made right again, or nothing behind it would be looked at.
      if (frame.length >= 34) {
        const view = new DataView(frame.buffer);
        let sum = 0;
        for (let i = 14; i < Math.min(14 + ((frame[14] ?? 0) & 15) * 4, frame.length - 1); i += 2) {
          if (i !== 24) sum += view.getUint16(i);
        }
        view.setUint16(24, 0xffff - (sum % 0xffff || 0xffff));
      }
      t.true(describe(frame).length > 0);
    }),
    { numRuns: 3000 },
  );
});
