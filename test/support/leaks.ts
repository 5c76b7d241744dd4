/** What must have gone back when a host has no connections left. */
import type { Host } from '../../src/host/host.ts';

/** Everything that is still held, by name; empty when nothing has leaked. */
export function findLeaks(host: Host): string[] {
  const { stack, tcp } = host;
  const held: Record<string, number> = {
    connections: tcp.liveConnections,
    'TIME-WAIT records': tcp.timeWait.live,
    'connection table entries': tcp.table.size,
    'send regions': tcp.regions.live,
    'ranges in flight': tcp.ranges.live,
    'receive rings': tcp.receiveQueues.liveRings,
    'receive memory bytes': tcp.receiveMemory.usedBytes,
    'receive slots': stack.environment.held,
    'paths in use': stack.paths.activeCount,
    'replies waiting': tcp.replies.count,
    'frames queued': stack.environment.queue.enqueued - stack.environment.queue.completed,
  };
  return Object.entries(held).flatMap(([name, count]) => (count === 0 ? [] : [`${count} ${name}`]));
}
