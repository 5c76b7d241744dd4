/** First in, first out, in rings that are as long as they will ever need to be. */
import { float64At, int32At } from '../../runtime/words.ts';

export class IndexRing {
  length = 0;
  private readonly values: Int32Array;
  private first = 0;

  constructor(capacity: number) {
    this.values = new Int32Array(capacity);
  }

  push(value: number): void {
    const place = this.first + this.length++;
    this.values[place < this.values.length ? place : place - this.values.length] = value;
  }

  /** The oldest value; there must be one. */
  take(): number {
    const value = int32At(this.values, this.first);
    this.first = this.first + 1 < this.values.length ? this.first + 1 : 0;
    this.length--;
    return value;
  }
}

export class TimeRing {
  length = 0;
  private readonly values: Float64Array;
  private first = 0;

  constructor(capacity: number) {
    this.values = new Float64Array(capacity);
  }

  push(value: number): void {
    const place = this.first + this.length++;
    this.values[place < this.values.length ? place : place - this.values.length] = value;
  }

  /** The oldest value, which stays; there must be one. */
  peek(): number {
    return float64At(this.values, this.first);
  }

  take(): number {
    const value = this.peek();
    this.first = this.first + 1 < this.values.length ? this.first + 1 : 0;
    this.length--;
    return value;
  }

  clear(): void {
    this.length = 0;
  }
}
