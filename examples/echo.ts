/**
 * An echo server on a stack of its own: `make build-test && sudo node build/examples/echo.js`, then `nc 10.90.0.2 7`.
 * What arrives is copied into memory that stays ours until the peer has acknowledged it.
 */
import * as exonet from 'exonet';

const PIECES = 256;
const PIECE_BYTES = 65_536;

const host = exonet.openHost('echo', { device: 'tap:exo0', address: '10.90.0.2/24', hostAddress: '10.90.0.1/24' });
const { bytes } = host.arena;
const free = Array.from({ length: PIECES }, () => host.arena.allocate(PIECE_BYTES));
const owner: exonet.RegionOwner = { release: (piece) => free.push(piece) };

function ready(connection: exonet.Tcb): void {
  const events = exonet.takeEvents(connection);
  for (let length = exonet.readableLength(connection); length > 0; length = exonet.readableLength(connection)) {
    const piece = free.pop();
    if (piece === undefined) {
      exonet.abort(connection);
      return;
    }
    const take = Math.min(length, PIECE_BYTES);
    const from = exonet.readableAt(connection);
    bytes.copyWithin(piece, from, from + take);
    exonet.consume(connection, take);
    exonet.send(connection, piece, take, owner, piece);
  }
  if ((events & exonet.EVENT_PEER_CLOSED) !== 0) exonet.closeSend(connection);
}

host.tcp.listen(7, () => ({ ready }));
host.start();
process.once('SIGINT', () => host.close());
console.log('echo on 10.90.0.2 port 7');
