/**
 * Calls that block: each is an attempt, made again whenever something happens to one of its sockets, until it has a result or
 * its time is over. Nothing is remembered of a call that gave its result at once.
 */
import type { TimerWheel } from '../../runtime/timer-wheel.ts';
import type { TurnClock } from '../../runtime/turn-clock.ts';
import type { PosixSocket } from './socket.ts';

export interface Wait {
  readonly sockets: readonly PosixSocket[];
  /** Null: not yet. Else what tells the caller its result, to be called once the wait is over. */
  readonly attempt: () => (() => void) | null;
  /** Gives the caller the result of a call whose time is over. */
  readonly expire: () => void;
  /** Its timer, -1 when it waits without end. */
  timer: number;
  key: number;
  over: boolean;
}

export class Waits {
  /** Calls that wait. */
  live = 0;
  private readonly timers: TimerWheel;
  private readonly clock: TurnClock;
  private readonly kind: number;
  private readonly timed = new Map<number, Wait>();
  private nextKey = 0;
  /** Told of a socket that a call has let go of. */
  private readonly onRelease: (socket: PosixSocket) => void;

  constructor(timers: TimerWheel, clock: TurnClock, onRelease: (socket: PosixSocket) => void) {
    this.timers = timers;
    this.clock = clock;
    this.onRelease = onRelease;
    this.kind = timers.addKind((key) => this.expire(key));
  }

  /** @param limitUs how long it waits at most, negative for without end */
  add(sockets: readonly PosixSocket[], limitUs: number, attempt: Wait['attempt'], expire: () => void): void {
    const wait: Wait = { sockets, attempt, expire, timer: -1, key: -1, over: false };
    this.live++;
    for (const socket of sockets) {
      socket.holds++;
      socket.waits.push(wait);
    }
    if (limitUs < 0) return;
    wait.key = this.nextKey++ | 0;
    this.timed.set(wait.key, wait);
    wait.timer = this.timers.create(this.kind, wait.key);
    // The call may come from outside a turn, long after the last one.
    this.clock.look();
    this.timers.scheduleAfter(wait.timer, limitUs);
  }

  /** Something has happened to a socket: what waits for it tries again. */
  wake(socket: PosixSocket): void {
    if (socket.waits.length === 0) return;
    for (const wait of [...socket.waits]) {
      const tell = wait.over ? null : wait.attempt();
      if (tell === null) continue;
      this.end(wait);
      tell();
    }
  }

  private expire(key: number): void {
    const wait = this.timed.get(key);
    if (wait === undefined) return;
    this.end(wait);
    wait.expire();
  }

  private end(wait: Wait): void {
    wait.over = true;
    this.live--;
    if (wait.timer >= 0) {
      this.timed.delete(wait.key);
      this.timers.destroy(wait.timer);
    }
    for (const socket of wait.sockets) {
      socket.waits.splice(socket.waits.indexOf(wait), 1);
      socket.holds--;
      this.onRelease(socket);
    }
  }
}
