/**
 * What a Node programmer would put in front of a directory: node:http and sirv, which knows its files beforehand and streams
 * them. `node node-sirv.js DIRECTORY ADDRESS PORT`.
 */
import { createServer } from 'node:http';
import sirv from 'sirv';

const [directory = '', address = '', port = ''] = process.argv.slice(2);
const server = createServer(sirv(directory, { dev: false, etag: true }));
server.keepAliveTimeout = 0;
server.listen(Number(port), address);
process.on('SIGINT', () => {});
