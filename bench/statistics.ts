/** What is said about a handful of measurements of the same thing. */

/** The middle one, or the mean of the two in the middle; NaN of nothing. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const upper = sorted[sorted.length >> 1] ?? Number.NaN;
  const lower = sorted[(sorted.length - 1) >> 1] ?? Number.NaN;
  return (lower + upper) / 2;
}

/** Coefficient of variation: the standard deviation of the sample over its mean; 0 of fewer than two values. */
export function variation(values: readonly number[]): number {
  if (values.length < 2) return 0;
  const mean = sum(values) / values.length;
  const squares = values.map((value) => (value - mean) ** 2);
  return Math.sqrt(sum(squares) / (values.length - 1)) / mean;
}

export function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
