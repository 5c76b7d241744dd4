/**
 * What Node's own HTTP server does with the same documents, all of them in memory: `node node-http.js DIRECTORY ADDRESS PORT`.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';

const [directory = '', address = '', port = ''] = process.argv.slice(2);
const documents = new Map(readdirSync(directory).map((name) => [`/${name}`, readFileSync(join(directory, name))]));

const server = createServer((request, response) => {
  const body = documents.get(request.url ?? '');
  if (body === undefined) {
    response.writeHead(404, { 'Content-Length': 0 }).end();
    return;
  }
  response.writeHead(200, { 'Content-Type': 'application/octet-stream', 'Content-Length': body.length }).end(body);
});
server.keepAliveTimeout = 0;
server.listen(Number(port), address);
process.on('SIGINT', () => {});
