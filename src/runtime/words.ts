/**
 * Reads of typed-array elements that are known to exist (`noUncheckedIndexedAccess` makes plain indexing optional).
 * One function for each kind of array: the engine remembers the kinds that a read has seen, wherever it is inlined, and
 * with several of them a read takes 10 ns instead of 2.5.
 */

export function int32At(words: Int32Array, index: number): number {
  return words[index] as number;
}

export function uint32At(words: Uint32Array, index: number): number {
  return words[index] as number;
}

export function uint16At(words: Uint16Array, index: number): number {
  return words[index] as number;
}

export function uint8At(bytes: Uint8Array, index: number): number {
  return bytes[index] as number;
}

export function float64At(numbers: Float64Array, index: number): number {
  return numbers[index] as number;
}
