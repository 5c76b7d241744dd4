/** Ends a connection of node:net with a RST, now. */
import type { Socket } from 'node:net';

export function resetSocket(socket: Socket): void {
  if (socket.destroyed) return;
  if (socket.connecting) {
    socket.destroy();
    return;
  }
  while (socket.writableCorked > 0) socket.uncork();
  const isStalled = socket.writableLength > 0;
  socket.resetAndDestroy();
  // By itself it would first wait for the peer to take what is still to be written.
  if (isStalled) socket.destroy();
}
