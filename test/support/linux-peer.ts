/**
 * The Linux end of a transfer, as a program of its own:
 *
 *   node linux-peer.js serve ADDRESS PORT DIR    an HTTP server of the files in DIR
 *   node linux-peer.js sink ADDRESS PORT         takes streams; when one has ended, says how long it was and its digest
 *   node linux-peer.js send ADDRESS PORT FILE    sends a file, closes that half, and prints what comes back
 */
import { createHash } from 'node:crypto';
import { createReadStream, readFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { createConnection, createServer, type Socket } from 'node:net';
import { basename, join } from 'node:path';

/** What `sink` answers with. */
export interface SinkReport {
  readonly bytes: number;
  readonly sha256: string;
}

function serve(address: string, port: number, directory: string): void {
  const server = createHttpServer((request, response) => {
    const contents = readFileSync(join(directory, basename(request.url ?? '')));
    response.setHeader('Content-Length', contents.length);
    response.end(contents);
  });
  server.listen(port, address, () => console.log('ready'));
}

function sink(address: string, port: number): void {
  const server = createServer({ allowHalfOpen: true }, (socket: Socket) => {
    const hash = createHash('sha256');
    let bytes = 0;
    socket.on('data', (chunk) => {
      bytes += chunk.length;
      hash.update(chunk);
    });
    socket.on('end', () => {
      const report: SinkReport = { bytes, sha256: hash.digest('hex') };
      socket.end(JSON.stringify(report));
    });
    socket.on('error', () => socket.destroy());
  });
  server.listen(port, address, () => console.log('ready'));
}

function send(address: string, port: number, file: string): void {
  const socket = createConnection({ host: address, port, allowHalfOpen: true });
  createReadStream(file).pipe(socket);
  socket.pipe(process.stdout);
  socket.on('error', (error) => {
    console.error(error.message);
    process.exitCode = 1;
  });
}

const [mode, address = '', port = '', argument = ''] = process.argv.slice(2);
if (mode === 'serve') serve(address, Number(port), argument);
else if (mode === 'sink') sink(address, Number(port));
else if (mode === 'send') send(address, Number(port), argument);
