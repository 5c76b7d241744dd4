/** Which code of the program has run, and how often, by V8's own count. */
import { Session } from 'node:inspector';

interface Taken {
  readonly result: readonly {
    readonly scriptId: string;
    readonly url: string;
    readonly functions: readonly { readonly ranges: readonly Range[] }[];
  }[];
}

/** Ranges of source text lie within one another; the innermost says how often a place was run. */
interface Range {
  readonly startOffset: number;
  readonly endOffset: number;
  readonly count: number;
}

/** Source text of one script, character by character: 0 where it has not run, more for each sixteenfold of times. */
interface Script {
  readonly most: Uint8Array;
  readonly now: Uint8Array;
}

export class Coverage {
  /** Characters of source text that have ever run. */
  reached = 0;
  private readonly session = new Session();
  private readonly covers: RegExp;
  private readonly scripts = new Map<string, Script>();

  /** Of the files whose URL matches. */
  constructor(covers: RegExp) {
    this.covers = covers;
    this.session.connect();
    this.session.post('Profiler.enable');
    this.session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
  }

  /** Whether something has run since the last call that had never run, or never so often at a time. */
  takeNew(): boolean {
    let isNew = false;
    this.session.post('Profiler.takePreciseCoverage', (error, taken: unknown) => {
      if (error !== null) throw error;
      for (const { scriptId, url, functions } of (taken as Taken).result) {
        if (!this.covers.test(url)) continue;
        const ranges = functions.flatMap((each) => each.ranges);
        if (this.look(scriptId, ranges)) isNew = true;
      }
    });
    return isNew;
  }

  close(): void {
    this.session.disconnect();
  }

  private look(scriptId: string, ranges: readonly Range[]): boolean {
    const length = ranges.reduce((most, { endOffset }) => Math.max(most, endOffset), 0);
    const script = this.scriptOf(scriptId, length);
    script.now.fill(0);
    for (const { startOffset, endOffset, count } of ranges) {
      script.now.fill(count === 0 ? 0 : 1 + Math.floor(Math.log2(count) / 4), startOffset, endOffset);
    }
    let isNew = false;
    for (let i = 0; i < length; i++) {
      const now = script.now[i] as number;
      const most = script.most[i] as number;
      if (now <= most) continue;
      if (most === 0) this.reached++;
      script.most[i] = now;
      isNew = true;
    }
    return isNew;
  }

  private scriptOf(scriptId: string, length: number): Script {
    let script = this.scripts.get(scriptId);
    if (script === undefined || script.most.length < length) {
      const most = new Uint8Array(length);
      if (script !== undefined) most.set(script.most);
      script = { most, now: new Uint8Array(length) };
      this.scripts.set(scriptId, script);
    }
    return script;
  }
}
