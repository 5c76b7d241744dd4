import test from 'ava';
import fc from 'fast-check';
import { guardFrame } from '../../src/exokernel/transmit-guard.ts';
import { ARP_BYTES, ARP_REPLY, ARP_REQUEST, setArp } from '../../src/wire/arp.ts';
import {
  DROP_GUARD_ADDRESS,
  DROP_GUARD_ARP,
  DROP_GUARD_MAC,
  DROP_GUARD_SHORT,
  DROP_GUARD_TYPE,
} from '../../src/wire/drop-reasons.ts';
import { ETHERNET_BYTES, ETHERTYPE_ARP, ETHERTYPE_IPV4, setEthernet } from '../../src/wire/ethernet.ts';
import { IPV4_BYTES, PROTOCOL_TCP, setIpv4 } from '../../src/wire/ipv4.ts';

const MAC_HI = 0x0200;
const MAC_LO = 0x8badf00d | 0;
const OWN = 0xc0a80102 | 0;
const SECOND = 0x0a5a0002;
const STRANGER = 0x0a5a0003;
const AT = 18;
const NO_SOURCES = { sourceNetworks: new Int32Array(0), sourceMasks: new Int32Array(0) };
const sender = { macHi: MAC_HI, macLo: MAC_LO, addresses: Int32Array.of(OWN, SECOND), ...NO_SOURCES };

const bytes = new Uint8Array(256);

function guard(headerBytes: number): number {
  return guardFrame(sender, bytes, Int32Array.of(9, 9, AT, headerBytes, 0, 0, 0, 0, 0, 0), 2);
}

function writeIpv4(source: number, macHi = MAC_HI, macLo = MAC_LO): void {
  bytes.fill(0xff);
  setEthernet(bytes, AT, 0xffff, -1, macHi, macLo, ETHERTYPE_IPV4);
  setIpv4(bytes, AT + ETHERNET_BYTES, 1500, 1, true, 64, PROTOCOL_TCP, source, STRANGER, 0);
}

function writeArp(operation: number, macHi: number, macLo: number, address: number): void {
  bytes.fill(0xff);
  setEthernet(bytes, AT, 0xffff, -1, MAC_HI, MAC_LO, ETHERTYPE_ARP);
  setArp(bytes, AT + ETHERNET_BYTES, operation, macHi, macLo, address, 0, 0, STRANGER);
}

test('IPv4 from any of its addresses passes, from another one it does not', (t) => {
  const whole = ETHERNET_BYTES + IPV4_BYTES;
  for (const source of [OWN, SECOND]) {
    writeIpv4(source);
    t.is(guard(whole), 0);
    t.is(guard(whole + 20), 0);
  }
  for (const source of [STRANGER, 0, -1, OWN ^ 1, OWN ^ (1 << 31)]) {
    writeIpv4(source);
    t.is(guard(whole), DROP_GUARD_ADDRESS);
  }
});

test('the Ethernet source is its own', (t) => {
  for (const [hi, lo] of [
    [MAC_HI ^ 1, MAC_LO],
    [MAC_HI, MAC_LO ^ 1],
    [0xffff, -1],
    [0, 0],
  ] as const) {
    writeIpv4(OWN, hi, lo);
    t.is(guard(54), DROP_GUARD_MAC);
  }
});

test('ARP in its own name, or in nobody’s to ask whether an address is free', (t) => {
  const whole = ETHERNET_BYTES + ARP_BYTES;
  for (const operation of [ARP_REQUEST, ARP_REPLY]) {
    for (const address of [OWN, SECOND, 0]) {
      writeArp(operation, MAC_HI, MAC_LO, address);
      t.is(guard(whole), 0);
    }
    writeArp(operation, MAC_HI, MAC_LO, STRANGER);
    t.is(guard(whole), DROP_GUARD_ARP);
    writeArp(operation, MAC_HI, MAC_LO ^ 256, OWN);
    t.is(guard(whole), DROP_GUARD_ARP);
    writeArp(operation, MAC_HI ^ 256, MAC_LO, OWN);
    t.is(guard(whole), DROP_GUARD_ARP);
  }
});

test('ARP of another format is refused: its sender would lie elsewhere', (t) => {
  for (let offset = 0; offset < 8; offset++) {
    writeArp(ARP_REQUEST, MAC_HI, MAC_LO, OWN);
    const index = AT + ETHERNET_BYTES + offset;
    bytes[index] = (bytes[index] as number) ^ 0x40;
    t.is(guard(ETHERNET_BYTES + ARP_BYTES), DROP_GUARD_ARP);
  }
});

test('other EtherTypes are refused', (t) => {
  for (const type of [0x86dd, 0x8100, 0, 0xffff, 1500]) {
    writeIpv4(OWN);
    setEthernet(bytes, AT, 0xffff, -1, MAC_HI, MAC_LO, type);
    t.is(guard(54), DROP_GUARD_TYPE);
  }
});

test('a header that is not whole in its slot is refused, at every length', (t) => {
  writeIpv4(OWN);
  for (let length = 0; length < ETHERNET_BYTES + IPV4_BYTES; length++) t.is(guard(length), DROP_GUARD_SHORT);
  writeArp(ARP_REQUEST, MAC_HI, MAC_LO, OWN);
  for (let length = 0; length < ETHERNET_BYTES + ARP_BYTES; length++) t.is(guard(length), DROP_GUARD_SHORT);
});

test('a granted prefix covers its addresses and no other', (t) => {
  const granted = {
    ...sender,
    sourceNetworks: Int32Array.of(0x0a5b0100, 0xc6336400 | 0),
    sourceMasks: Int32Array.of(0xffffff00 | 0, 0xfffffffc | 0),
  };
  const words = Int32Array.of(AT, 54, 0, 0, 0, 0, 0, 0);
  for (const [source, refused] of [
    [0x0a5b0100, 0],
    [0x0a5b01ff, 0],
    [0x0a5b0200, DROP_GUARD_ADDRESS],
    [0x0a5b00ff, DROP_GUARD_ADDRESS],
    [0xc6336403 | 0, 0],
    [0xc6336404 | 0, DROP_GUARD_ADDRESS],
    [OWN, 0],
  ] as const) {
    writeIpv4(source);
    t.is(guardFrame(granted, bytes, words, 0), refused);
    writeArp(ARP_REQUEST, MAC_HI, MAC_LO, source);
    t.is(guardFrame(granted, bytes, words, 0), refused === 0 ? 0 : DROP_GUARD_ARP);
  }
});

test('an environment without addresses may only ask', (t) => {
  const nobody = { macHi: MAC_HI, macLo: MAC_LO, addresses: new Int32Array(0), ...NO_SOURCES };
  const words = Int32Array.of(AT, 54, 0, 0, 0, 0, 0, 0);
  writeIpv4(OWN);
  t.is(guardFrame(nobody, bytes, words, 0), DROP_GUARD_ADDRESS);
  writeIpv4(0);
  t.is(guardFrame(nobody, bytes, words, 0), DROP_GUARD_ADDRESS);
  writeArp(ARP_REQUEST, MAC_HI, MAC_LO, 0);
  t.is(guardFrame(nobody, bytes, words, 0), 0);
});

test('whatever the bytes are, what passes names the sender', (t) => {
  const noise = fc.uint8Array({ minLength: 60, maxLength: 60 });
  fc.assert(
    fc.property(
      noise,
      fc.constantFrom('ipv4', 'arp', 'none'),
      fc.array(fc.nat(59), { maxLength: 3 }),
      (fill, kind, flips) => {
        if (kind === 'ipv4') writeIpv4(OWN);
        else if (kind === 'arp') writeArp(ARP_REPLY, MAC_HI, MAC_LO, SECOND);
        else bytes.set(fill, AT);
        for (const flip of flips) bytes[AT + flip] = fill[flip] as number;
        if (guard(60) !== 0) return;
        const hex = (from: number, to: number) => Buffer.from(bytes.subarray(AT + from, AT + to)).toString('hex');
        t.is(hex(6, 12), '02008badf00d');
        const type = hex(12, 14);
        t.true(type === '0800' || type === '0806');
        if (type === '0800') t.regex(hex(26, 30), /^(c0a80102|0a5a0002)$/);
        else t.regex(hex(22, 32), /^02008badf00d(c0a80102|0a5a0002|00000000)$/);
      },
    ),
    { numRuns: 2000 },
  );
});
