/**
 * Hostile input: while transfers run between two stacks, an attacker on the wire who sees every frame sends mutations of
 * them, most with the checksums made good again. Nothing may throw, hang or leak, and every packet is accounted for.
 */
import test from 'ava';
import { TRANSMIT_WORDS, TransmitBatch } from '../../src/driver/device.ts';
import { nonZero } from '../../src/runtime/counters.ts';
import type { Random } from '../../src/runtime/random.ts';
import { SeededRandom } from '../../src/runtime/random.ts';
import { abort } from '../../src/tcp/calls.ts';
import { setU16 } from '../../src/wire/bytes.ts';
import { finishSum, pseudoSum4, sumBytes } from '../../src/wire/checksum.ts';
import { ETHERNET_BYTES, ETHERTYPE_IPV4, ethernetType } from '../../src/wire/ethernet.ts';
import {
  IPV4_CHECKSUM_OFFSET,
  ipv4HeaderBytes,
  ipv4Protocol,
  ipv4Source,
  ipv4Target,
  PROTOCOL_TCP,
} from '../../src/wire/ipv4.ts';
import { setTcpChecksum, TCP_BYTES } from '../../src/wire/tcp.ts';
import { clearVnet } from '../../src/wire/virtio-net.ts';
import { findLeaks } from '../support/leaks.ts';
import { Transfer } from '../support/transfer.ts';
import { ADDRESS_B, World } from '../support/world.ts';

const MUTATIONS = Number(process.env.EXONET_MUTATIONS ?? 100_000);
const SEED = Number(process.env.EXONET_SEED ?? 20_261);
const MUTATIONS_PER_FRAME = 8;
const TRANSFER_BYTES = 64 * 1024;
const TRANSFER_LIMIT_US = 5_000_000;
const MAX_FRAME_BYTES = 1514;
/** Headers and options: where most mutations go. */
const HEADERS_BYTES = 66;
const TIMEOUTS_OVER_US = 4000_000_000;

class Attacker {
  sent = 0;
  private readonly world: World;
  private readonly random: Random;
  private readonly batch = new TransmitBatch(1);
  private readonly at: number;
  private busy = false;

  constructor(world: World, random: Random) {
    this.world = world;
    this.random = random;
    this.at = world.arena.allocate(4096) + 64;
  }

  /** Sends mutations of a frame that was seen, in its direction. */
  attack(frame: Uint8Array, direction: 'aToB' | 'bToA'): void {
    if (this.busy) return;
    this.busy = true;
    const device = direction === 'aToB' ? this.world.link.a : this.world.link.b;
    const { bytes } = this.world.arena;
    for (let i = 0; i < MUTATIONS_PER_FRAME && this.sent < MUTATIONS; i++) {
      bytes.set(frame, this.at);
      const length = this.mutate(bytes, frame.length);
      clearVnet(bytes, this.at);
      this.batch.words.fill(0, 0, TRANSMIT_WORDS);
      this.batch.words[0] = this.at;
      this.batch.words[1] = length;
      device.transmit(this.batch, 0, 1);
      // The host that the device belongs to must not see the frame among its own.
      device.completed();
      this.sent++;
    }
    this.busy = false;
  }

  private mutate(bytes: Uint8Array, length: number): number {
    const { random, at } = this;
    let mutated = length;
    const edits = 1 + random.below(4);
    for (let i = 0; i < edits; i++) {
      // Not the Ethernet header alone: a frame for another address would end there.
      const range = random.chance(0.8) ? Math.min(length, HEADERS_BYTES) : length;
      const position = at + 12 + random.below(Math.max(1, range - 12));
      if (random.chance(0.5)) bytes[position] = random.below(256);
      else bytes[position] = (bytes[position] as number) ^ (1 << random.below(8));
    }
    if (random.chance(0.1)) mutated = 1 + random.below(length);
    else if (random.chance(0.05)) mutated = Math.min(MAX_FRAME_BYTES, length + random.below(64));
    if (random.chance(0.8)) repairChecksums(bytes, at, mutated);
    return mutated;
  }
}

function repairChecksums(bytes: Uint8Array, at: number, length: number): void {
  const ipAt = at + ETHERNET_BYTES;
  if (length < ETHERNET_BYTES + 20 + TCP_BYTES || ethernetType(bytes, at) !== ETHERTYPE_IPV4) return;
  const headerBytes = ipv4HeaderBytes(bytes, ipAt);
  if (headerBytes < 20 || ETHERNET_BYTES + headerBytes + TCP_BYTES > length) return;
  setU16(bytes, ipAt + IPV4_CHECKSUM_OFFSET, 0);
  setU16(bytes, ipAt + IPV4_CHECKSUM_OFFSET, finishSum(sumBytes(bytes, ipAt, headerBytes)));
  if (ipv4Protocol(bytes, ipAt) !== PROTOCOL_TCP) return;
  const tcpAt = ipAt + headerBytes;
  const tcpBytes = length - ETHERNET_BYTES - headerBytes;
  setTcpChecksum(bytes, tcpAt, 0);
  const pseudo = pseudoSum4(ipv4Source(bytes, ipAt), ipv4Target(bytes, ipAt), PROTOCOL_TCP) + tcpBytes;
  setTcpChecksum(bytes, tcpAt, finishSum(sumBytes(bytes, tcpAt, tcpBytes, pseudo)));
}

test(`${MUTATIONS} mutations of valid frames`, (t) => {
  t.timeout(600_000);
  t.log(`replay: EXONET_SEED=${SEED} npx ava test/simulation/hostile.test.ts`);
  const frames: { frame: Uint8Array; direction: 'aToB' | 'bToA' }[] = [];
  let attacking = false;
  const world = new World({
    seed: SEED,
    link: {
      delayUs: 100,
      observe: (bytes, at, length, direction) => {
        if (!attacking) frames.push({ frame: bytes.slice(at, at + length), direction });
      },
    },
  });
  const attacker = new Attacker(world, new SeededRandom(SEED));
  const at = world.arena.allocate(TRANSFER_BYTES);
  const accepted: Transfer[] = [];
  world.b.tcp.listen(80, () => {
    const transfer = new Transfer(world, at, TRANSFER_BYTES, at, TRANSFER_BYTES);
    accepted.push(transfer);
    return transfer;
  });
  let transfers = 0;
  while (attacker.sent < MUTATIONS) {
    const transfer = new Transfer(world, at, TRANSFER_BYTES, at, TRANSFER_BYTES);
    const connection = world.a.tcp.connect(ADDRESS_B, 80, transfer);
    if (connection === null) throw new Error('no connection could be made');
    transfers++;
    world.run(TRANSFER_LIMIT_US, () => {
      attacking = true;
      for (const { frame, direction } of frames.splice(0)) attacker.attack(frame, direction);
      attacking = false;
      return transfer.closed;
    });
    if (!transfer.closed) {
      abort(connection);
      world.a.stack.wake();
      world.run(1000, () => transfer.closed);
    }
  }
  t.log(`${transfers} transfers, ${attacker.sent} mutations`);
  for (const host of [world.a, world.b]) {
    const { ipv4, drops } = host.stack;
    t.log(nonZero(drops.snapshot()));
    t.true(drops.get('tcp-sequence') > 0);
    const { received, delivered, reassembled, dropped } = ipv4.counters.snapshot();
    t.true(received > 0 && delivered + dropped <= received + reassembled);
  }
  // What is left over times out or is told to go.
  world.run(TIMEOUTS_OVER_US);
  world.a.tcp.close();
  world.b.tcp.close();
  world.a.stack.wake();
  world.b.stack.wake();
  world.run(TIMEOUTS_OVER_US);
  t.deepEqual(findLeaks(world.a), []);
  t.deepEqual(findLeaks(world.b), []);
  for (const transfer of accepted) t.is(transfer.regions, 0);
  world.close();
});
