/**
 * Fetches URLs one after the other, over kept-alive connections as the load does, and prints what came as a line of JSON:
 * `node fetch.js URL...`. A server that does not listen yet is waited for.
 */
import { createHash } from 'node:crypto';
import { Agent, type IncomingMessage, request } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';

export interface Fetched {
  readonly status: number;
  readonly bytes: number;
  readonly sha256: string;
  /** The server would go on using the connection. */
  readonly keptAlive: boolean;
}

const PATIENCE_MS = 5000;
const RETRY_MS = 20;

const agent = new Agent({ keepAlive: true });

async function fetch(url: string): Promise<Fetched> {
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    request(url, { agent, timeout: PATIENCE_MS }, resolve)
      .on('error', reject)
      .on('timeout', () => reject(new Error(`${url} does not answer`)))
      .end();
  });
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    hash.update(chunk);
    bytes += chunk.length;
  }
  const keptAlive = response.headers.connection?.toLowerCase() !== 'close';
  return { status: response.statusCode ?? 0, bytes, sha256: hash.digest('hex'), keptAlive };
}

async function fetchPatiently(url: string): Promise<Fetched> {
  for (const start = performance.now(); ; await delay(RETRY_MS)) {
    try {
      return await fetch(url);
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : '';
      if (code !== 'ECONNREFUSED' || performance.now() - start > PATIENCE_MS) throw error;
    }
  }
}

for (const url of process.argv.slice(2)) console.log(JSON.stringify(await fetchPatiently(url)));
agent.destroy();
