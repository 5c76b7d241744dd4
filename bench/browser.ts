/**
 * A browser, as far as a cold page's latency goes: fetches a page, then what it includes over six connections, each request
 * a round trip after it could be sent. Takes its orders from the bench by message, one at a time.
 */
import { Agent, get, type IncomingMessage } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';

const CONNECTIONS = 6;
const PATIENCE_MS = 20_000;

export interface Visit {
  /** The page, and what it includes: URLs. */
  readonly page: string;
  readonly resources: readonly string[];
  /** Of a round trip that this machine does not have. */
  readonly roundTripMs: number;
}

export interface Visited {
  /** From the beginning until the page is there, and until everything is. */
  readonly pageMs: number;
  readonly totalMs: number;
  readonly bytes: number;
}

async function visit({ page, resources, roundTripMs }: Visit): Promise<Visited> {
  const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS });
  const start = performance.now();
  // A round trip for the handshake of a connection, and one for each request.
  await delay(2 * roundTripMs);
  let bytes = await fetch(page, agent);
  const pageMs = performance.now() - start;
  const wanted = [...resources];
  const useConnection = async (index: number): Promise<void> => {
    if (index > 0) await delay(roundTripMs);
    for (let url = wanted.shift(); url !== undefined; url = wanted.shift()) {
      await delay(roundTripMs);
      bytes += await fetch(url, agent);
    }
  };
  await Promise.all(Array.from({ length: CONNECTIONS }, (_, index) => useConnection(index)));
  const totalMs = performance.now() - start;
  agent.destroy();
  return { pageMs, totalMs, bytes };
}

/** The length of a body; throws unless it is all there. */
async function fetch(url: string, agent: Agent): Promise<number> {
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    get(url, { agent, timeout: PATIENCE_MS }, resolve)
      .on('error', reject)
      .on('timeout', () => reject(new Error(`${url} does not answer`)));
  });
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) bytes += chunk.length;
  if (response.statusCode !== 200 || bytes !== Number(response.headers['content-length'])) {
    throw new Error(`${url} is answered ${response.statusCode}, ${bytes} bytes`);
  }
  return bytes;
}

process.on('message', (order: Visit) => {
  visit(order).then(
    (visited) => process.send?.(visited),
    (error: unknown) => {
      console.error(error);
      process.exit(1);
    },
  );
});
process.once('disconnect', () => process.exit());
process.on('SIGINT', () => {});
process.send?.('ready');
