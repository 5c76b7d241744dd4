/** Latencies in a histogram of microseconds, three digits exact from 1 us to an hour; histograms join without loss. */
import { build, decodeFromCompressedBase64, encodeIntoCompressedBase64, type Histogram } from 'hdr-histogram-js';

const HIGHEST_US = 3_600_000_000;

export interface LatencySummary {
  readonly min: number;
  readonly mean: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

export class Latencies {
  private readonly histogram = createHistogram();
  /** Kept beside the histogram, which rounds them. */
  private minUs = Number.POSITIVE_INFINITY;
  private maxUs = 0;

  get count(): number {
    return this.histogram.totalCount;
  }

  record(us: number): void {
    this.histogram.recordValue(us < HIGHEST_US ? us : HIGHEST_US);
    if (us < this.minUs) this.minUs = us;
    if (us > this.maxUs) this.maxUs = us;
  }

  /** Adds what another has recorded: as if it had been recorded here. */
  add(other: Latencies): void {
    this.histogram.add(other.histogram);
    this.minUs = Math.min(this.minUs, other.minUs);
    this.maxUs = Math.max(this.maxUs, other.maxUs);
  }

  percentileMs(percentile: number): number {
    return this.count === 0 ? 0 : Math.min(this.maxUs, this.histogram.getValueAtPercentile(percentile)) / 1000;
  }

  summarizeMs(): LatencySummary {
    const empty = this.count === 0;
    return {
      min: empty ? 0 : this.minUs / 1000,
      mean: empty ? 0 : Math.round(this.histogram.mean) / 1000,
      p50: this.percentileMs(50),
      p90: this.percentileMs(90),
      p99: this.percentileMs(99),
      p999: this.percentileMs(99.9),
      max: this.maxUs / 1000,
    };
  }

  /** HdrHistogram's V2 encoding, compressed, in base64. */
  encode(): string {
    return encodeIntoCompressedBase64(this.histogram);
  }

  /** What `encode` has made, with the extremes that stood beside it. Throws for anything else. */
  static decode(text: string, minMs: number, maxMs: number): Latencies {
    const latencies = new Latencies();
    latencies.histogram.add(decodeFromCompressedBase64(text, 64, false));
    if (latencies.count > 0) latencies.minUs = Math.round(minMs * 1000);
    latencies.maxUs = Math.round(maxMs * 1000);
    return latencies;
  }
}

function createHistogram(): Histogram {
  return build({
    bitBucketSize: 64,
    lowestDiscernibleValue: 1,
    highestTrackableValue: HIGHEST_US,
    numberOfSignificantValueDigits: 3,
    useWebAssembly: false,
  });
}
