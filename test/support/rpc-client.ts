/** The client of the socket RPC: one connection to the UNIX socket for each call, one line there, one line back. */
import { createConnection } from 'node:net';

export interface RpcResponse {
  readonly value: number;
  readonly errno: number;
  /** What the call wrote into its caller's memory; empty for nothing. */
  readonly payload: string;
}

/** Makes one call; resolves when it has returned, however long it waits. */
export function callRpc(path: string, ...words: readonly (string | number)[]): Promise<RpcResponse> {
  return new Promise((resolve, reject) => {
    const client = createConnection(path);
    let text = '';
    client.setEncoding('latin1');
    client.on('error', reject);
    client.on('data', (piece) => {
      text += piece;
    });
    client.on('end', () => {
      const found = /^(-?\d+) (\d+) (.*)\n$/.exec(text);
      if (found === null) reject(new Error(`${words.join(' ')}: '${text}' is no response`));
      else resolve({ value: Number(found[1]), errno: Number(found[2]), payload: found[3] ?? '' });
    });
    client.write(`${words.join(' ')}\n`);
  });
}
