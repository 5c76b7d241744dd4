/** Who was the limit: the server, or the generator itself. */

/** A share of the asked rate that may be missed. */
export const MISSED_SHARE = 0.01;
/** A generator that works for more of its time than this has none left. */
export const BUSY_SHARE = 0.95;

export interface Evidence {
  /** Responses that came whole, good or bad. */
  readonly responses: number;
  /** Requests that the schedule had due; 0 in the closed loop. */
  readonly due: number;
  /** Of them, not handed to the network by the end. */
  readonly unsent: number;
  /** Handed over late, for whatever reason. */
  readonly handedLate: number;
  /** Of those, late with nothing but the generator in the way. */
  readonly ownLate: number;
  /** Share of the time in which the generator worked, 0 to 1. */
  readonly busyShare: number;
  /** Times that no connection was to be had for want of ports or room. */
  readonly unavailable: number;
}

export interface Verdict {
  readonly limit: 'server' | 'generator';
  /** The asked rate was missed by the generator's own fault: what was measured is the generator. */
  readonly saturated: boolean;
  readonly reason: string;
}

/** Of a run that was ended before its clock began. */
export const NOT_BEGUN: Verdict = { limit: 'server', saturated: false, reason: 'the warm-up was not over' };

export function judge(evidence: Evidence): Verdict {
  return evidence.due === 0 ? judgeClosedLoop(evidence) : judgeOpenLoop(evidence);
}

function judgeClosedLoop({ responses, busyShare, unavailable }: Evidence): Verdict {
  if (responses === 0) return { limit: 'server', saturated: false, reason: 'it answered nothing' };
  if (unavailable > 0) {
    return {
      limit: 'generator',
      saturated: false,
      reason: 'it had no local port free for more connections (--sources)',
    };
  }
  if (busyShare > BUSY_SHARE) {
    return { limit: 'generator', saturated: false, reason: `it worked ${percent(busyShare)} of the time` };
  }
  return { limit: 'server', saturated: false, reason: `the generator worked ${percent(busyShare)} of the time` };
}

function judgeOpenLoop(evidence: Evidence): Verdict {
  const { due, unsent, handedLate, ownLate, busyShare, unavailable } = evidence;
  const missed = (unsent + handedLate) / due;
  const missedText = `${percent(missed)} of the requests due were not sent in time`;
  if (ownLate / due > MISSED_SHARE) {
    const text = `${percent(ownLate / due)} of the requests due were sent late by its own fault`;
    return { limit: 'generator', saturated: true, reason: text };
  }
  if (missed <= MISSED_SHARE) {
    return { limit: 'server', saturated: false, reason: 'the asked rate was kept' };
  }
  if (unavailable > 0) {
    return { limit: 'generator', saturated: true, reason: `${missedText}: no local port was free (--sources)` };
  }
  if (busyShare > BUSY_SHARE) {
    const text = `${missedText}, and it worked ${percent(busyShare)} of the time`;
    return { limit: 'generator', saturated: true, reason: text };
  }
  return { limit: 'server', saturated: false, reason: `${missedText}: they waited for it, or for a free connection` };
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)}%`;
}
