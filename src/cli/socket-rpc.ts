/**
 * The server of the socket RPC: a UNIX stream socket, one connection for each call. The client sends one line, reads one,
 * and both close. Calls that block leave the others their time.
 */
import { lstatSync, unlinkSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import type { PosixSockets } from '../sockets/posix/posix-sockets.ts';
import { MALFORMED, perform } from './socket-rpc-calls.ts';

/** The longest request; what is longer is refused. */
const MAX_LINE_BYTES = 16 * 1024 * 1024;
/** Clients at a time, most of them with a call that blocks. */
const MAX_CLIENTS = 4096;

export class SocketRpc {
  /** Told of what keeps the server from listening, or ends it. */
  onError: (error: Error) => void = () => {};
  private readonly sockets: PosixSockets;
  private readonly server: Server;
  private readonly clients = new Set<Socket>();

  constructor(sockets: PosixSockets) {
    this.sockets = sockets;
    // A client may shut down its half behind the line.
    this.server = createServer({ allowHalfOpen: true }, (client) => this.serve(client));
    this.server.maxConnections = MAX_CLIENTS;
    this.server.on('error', (error) => this.onError(error));
  }

  /** Serves at a path, in the place of a socket that was left there. Throws the file system's error. */
  listen(path: string, onListening: () => void): void {
    if (lstatSync(path, { throwIfNoEntry: false })?.isSocket() === true) unlinkSync(path);
    this.server.listen(path, onListening);
  }

  /** Ends, and removes the socket. */
  close(): void {
    this.server.close();
    for (const client of this.clients) client.destroy();
  }

  private serve(client: Socket): void {
    const pieces: Buffer[] = [];
    let bytes = 0;
    let asked = false;
    this.clients.add(client);
    client.on('close', () => this.clients.delete(client));
    // The client has gone; its call goes on, as a thread's would.
    client.on('error', () => client.destroy());
    client.on('end', () => {
      if (!asked) client.destroy();
    });
    client.on('data', (piece) => {
      if (asked) return;
      pieces.push(piece);
      bytes += piece.length;
      const isWhole = piece.includes('\n');
      if (!isWhole && bytes <= MAX_LINE_BYTES) return;
      asked = true;
      if (bytes > MAX_LINE_BYTES) client.end(MALFORMED);
      else this.answer(client, Buffer.concat(pieces).toString('latin1'));
    });
  }

  private answer(client: Socket, request: string): void {
    const line = request.slice(0, request.indexOf('\n'));
    perform(this.sockets, line, (response) => {
      if (!client.destroyed) client.end(response);
    });
  }
}
