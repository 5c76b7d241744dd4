/**
 * Deadlines told to the microsecond, where the tick of the timer wheel is too coarse. There are few of them: each is looked at in
 * every turn.
 */

export class Alarm {
  /** When it goes off, once; Infinity when it is not set. */
  deadlineUs = Number.POSITIVE_INFINITY;
  readonly handler: () => void;

  constructor(handler: () => void) {
    this.handler = handler;
  }
}

export class Alarms {
  private readonly all: Alarm[] = [];

  create(handler: () => void): Alarm {
    const alarm = new Alarm(handler);
    this.all.push(alarm);
    return alarm;
  }

  /** When the first one goes off; Infinity when none is set. */
  nextUs(): number {
    let nextUs = Number.POSITIVE_INFINITY;
    for (let i = 0; i < this.all.length; i++) nextUs = Math.min(nextUs, (this.all[i] as Alarm).deadlineUs);
    return nextUs;
  }

  /** Lets those go off whose time has come; returns how many there were. */
  ring(nowUs: number): number {
    let rung = 0;
    for (let i = 0; i < this.all.length; i++) {
      const alarm = this.all[i] as Alarm;
      if (alarm.deadlineUs > nowUs) continue;
      alarm.deadlineUs = Number.POSITIVE_INFINITY;
      alarm.handler();
      rung++;
    }
    return rung;
  }
}
