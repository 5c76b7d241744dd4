/**
 * How many bytes of JavaScript heap were allocated between two moments: what the heap grew by from each garbage collection
 * to the next, exactly, whatever the collections gave back.
 */
import { GCProfiler, getHeapStatistics } from 'node:v8';

export class HeapMeter {
  private profiler: GCProfiler | null = null;
  private usedAtStart = 0;

  start(): void {
    this.profiler = new GCProfiler();
    this.profiler.start();
    this.usedAtStart = getHeapStatistics().used_heap_size;
  }

  /** Bytes allocated since `start`. */
  stop(): number {
    let grownTo = getHeapStatistics().used_heap_size;
    const collections = this.profiler?.stop()?.statistics ?? [];
    this.profiler = null;
    let bytes = 0;
    for (const { beforeGC, afterGC } of collections) {
      bytes += beforeGC.heapStatistics.usedHeapSize;
      grownTo -= afterGC.heapStatistics.usedHeapSize;
    }
    return bytes + grownTo - this.usedAtStart;
  }
}
