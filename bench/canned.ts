/** HTTP replies made once, for servers that send the same one whatever they are asked. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Arena } from '../src/runtime/arena.ts';

/** A whole reply in the arena, head and body. */
export interface CannedReply {
  readonly at: number;
  readonly bytes: number;
  /** The server closes behind it. */
  readonly closes: boolean;
}

function keyOf(name: string, closes: boolean): string {
  return closes ? `${name} close` : name;
}

/** Makes replies of every file of a directory, one that ends the connection and one that does not. */
export function canReplies(arena: Arena, directory: string): Map<string, CannedReply> {
  const replies = new Map<string, CannedReply>();
  for (const name of readdirSync(directory)) {
    const body = readFileSync(join(directory, name));
    for (const closes of [false, true]) {
      const more = closes ? 'Connection: close\r\n' : '';
      const head = Buffer.from(`HTTP/1.1 200 OK\r\n${more}Content-Length: ${body.length}\r\n\r\n`);
      const bytes = head.length + body.length;
      const at = arena.allocate(bytes);
      arena.bytes.set(head, at);
      arena.bytes.set(body, at + head.length);
      replies.set(keyOf(name, closes), { at, bytes, closes });
    }
  }
  return replies;
}

/** The reply of that name; throws when there is none. */
export function replyNamed(replies: Map<string, CannedReply>, name: string, closes: boolean): CannedReply {
  const reply = replies.get(keyOf(name, closes));
  if (reply === undefined) throw new RangeError(`there is no reply ${name}`);
  return reply;
}
