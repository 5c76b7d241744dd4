/** The open loop's schedule: request n is due at a time that no answer can move. */

export class Schedule {
  private readonly startUs: number;
  private readonly requestsPerSecond: number;
  /** Requests on the schedule. */
  readonly length: number;

  constructor(startUs: number, requestsPerSecond: number, durationUs: number, requests: number) {
    this.startUs = startUs;
    this.requestsPerSecond = requestsPerSecond;
    this.length = Math.min(requests, Math.ceil((requestsPerSecond * durationUs) / 1e6));
  }

  /** When request `index` is due, counted from 0. */
  timeUs(index: number): number {
    return this.startUs + Math.round((index * 1e6) / this.requestsPerSecond);
  }

  /** How many requests are due by a time, that moment included. */
  dueBy(timeUs: number): number {
    if (timeUs < this.startUs) return 0;
    let due = Math.floor(((timeUs - this.startUs) * this.requestsPerSecond) / 1e6);
    // The rounding of `timeUs` decides.
    while (this.timeUs(due) <= timeUs) due++;
    while (due > 0 && this.timeUs(due - 1) > timeUs) due--;
    return Math.min(due, this.length);
  }
}
