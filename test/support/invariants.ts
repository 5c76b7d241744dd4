/** What must hold of a connection whenever its host has come to rest. */
import { queuedBytes, readableBytes } from '../../src/tcp/calls.ts';
import { flightBytes, pipeBytes } from '../../src/tcp/pipe.ts';
import { NO_RANGE } from '../../src/tcp/sent-ranges.ts';
import { seqAdd, seqBeforeOrAt, seqDistance } from '../../src/tcp/sequence.ts';
import { STATE_NAMES, SYN_RECEIVED, SYN_SENT } from '../../src/tcp/state.ts';
import type { Tcb } from '../../src/tcp/tcb.ts';

export function assertConnection(tcb: Tcb): void {
  const { timers } = tcb.tcp;
  const name = `${STATE_NAMES[tcb.state]}: `;
  assert(seqBeforeOrAt(tcb.sndUna, tcb.sndNxt), `${name}SND.UNA > SND.NXT`);
  assert(tcb.sackedBytes + tcb.lostBytes <= flightBytes(tcb), `${name}more held and lost than in flight`);
  assert(seqBeforeOrAt(tcb.sndNxt, seqAdd(tcb.sndEnd, tcb.finQueued ? 1 : 0)), `${name}SND.NXT beyond the queue`);
  assert(
    queuedBytes(tcb) >= 0 && readableBytes(tcb) >= 0 && readableBytes(tcb) <= tcb.tcp.settings.receiveBufferBytes,
    `${name}bytes readable`,
  );
  assert(tcb.deliveryHead === -1, `${name}deliveries between turns`);
  assertRanges(tcb, name);
  assert(tcb.cwndBytes >= tcb.mssBytes || tcb.state <= SYN_RECEIVED, `${name}window of ${tcb.cwndBytes} bytes`);
  const inFlight = tcb.sndUna !== tcb.sndNxt;
  const waiting = seqDistance(tcb.sndEnd, tcb.sndNxt) > 0 || (tcb.finQueued && tcb.sndNxt === tcb.sndEnd);
  const armed = timers.isArmed(tcb.retransmitTimer);
  // The kernel of reliability: nothing waits without something that will wake it.
  assert(armed || !(inFlight || waiting || tcb.state === SYN_SENT), `${name}something waits and no timer runs`);
  assert(!armed || inFlight || waiting, `${name}a timer runs for nothing`);
  assert(timers.isArmed(tcb.delayedAckTimer) === tcb.ackDelayed, `${name}delayed ACK ${tcb.ackDelayed} and its timer`);
  assert(!tcb.ackNow && !tcb.synNow && !tcb.probeNow && !tcb.tlpNow && !tcb.keepAliveNow, `${name}unsent marks`);
  assert(tcb.duplicateAcksOwed === 0, `${name}duplicate ACKs unsent`);
}

/** What is in flight is in ranges without a gap, and the counts are theirs. */
function assertRanges(tcb: Tcb, name: string): void {
  const { ranges } = tcb.tcp;
  let end = tcb.sndUna;
  let [sacked, lost, due, count] = [0, 0, 0, 0];
  for (let range = tcb.sentHead; range !== NO_RANGE; range = ranges.next(range)) {
    assert(ranges.start(range) === end && ranges.bytes(range) > 0, `${name}ranges in flight with a gap`);
    end = ranges.end(range);
    count++;
    if (ranges.isSacked(range)) sacked += ranges.bytes(range);
    else if (ranges.isLost(range)) lost += ranges.bytes(range);
    if (ranges.isDue(range)) due += ranges.bytes(range);
  }
  if (tcb.state > SYN_RECEIVED) assert(end === tcb.sndNxt, `${name}ranges end before SND.NXT`);
  assert(sacked === tcb.sackedBytes && lost === tcb.lostBytes, `${name}counts of ranges held and lost`);
  assert(count === tcb.sentRanges, `${name}${tcb.sentRanges} ranges counted, ${count} there`);
  assert(tcb.retransmittedBytes >= 0 && lost - due <= tcb.retransmittedBytes, `${name}bytes under way again`);
  assert(pipeBytes(tcb) >= 0 || !tcb.sack, `${name}${pipeBytes(tcb)} bytes in the network`);
}

export function assert(holds: boolean, message: string): asserts holds {
  if (!holds) throw new Error(message);
}
