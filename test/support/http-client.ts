/** HTTP over a raw socket: requests in whatever pieces a test wants, and responses taken apart. */
import { once } from 'node:events';
import { createConnection, type Socket } from 'node:net';
import type { ExecutionContext } from 'ava';
import { within } from './commands.ts';
import { STACK_ADDRESS } from './wire.ts';

export interface HttpResponse {
  readonly status: number;
  readonly head: string;
  readonly body: Buffer;
}

export class HttpClient {
  readonly socket: Socket;
  /** The other side has closed its half. */
  ended = false;
  /** The connection was reset. */
  failed = false;
  private pieces: Buffer[] = [];
  private pieceBytes = 0;
  /** Somebody waits for more. */
  private tell: () => void = () => {};

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.setNoDelay(true);
    socket.on('data', (piece) => {
      this.pieces.push(piece);
      this.pieceBytes += piece.length;
      this.tell();
    });
    socket.once('end', () => {
      this.ended = true;
      this.tell();
    });
    socket.on('error', () => {
      this.failed = true;
      this.tell();
    });
  }

  /** A connection to the stack whose halves close one by one; destroyed when the test is over. */
  static async connect(t: ExecutionContext, port = 80, host = STACK_ADDRESS): Promise<HttpClient> {
    const socket = createConnection({ host, port, allowHalfOpen: true });
    t.teardown(() => socket.destroy());
    await within('the handshake', once(socket, 'connect'));
    return new HttpClient(socket);
  }

  /** Bytes that have come and were not read. */
  get bufferedBytes(): number {
    return this.pieceBytes;
  }

  write(text: string | Uint8Array): void {
    this.socket.write(text);
  }

  /** The next response, with a body of its Content-Length. */
  async read(): Promise<HttpResponse> {
    let headBytes = -1;
    while (headBytes < 0) {
      headBytes = this.joined().indexOf('\r\n\r\n');
      if (headBytes < 0) await this.more();
    }
    const head = this.joined().toString('latin1', 0, headBytes + 4);
    const length = Number(/^content-length: (\d+)\r$/im.exec(head)?.[1]);
    const end = headBytes + 4 + length;
    while (this.pieceBytes < end) await this.more();
    const all = this.joined();
    this.pieces = [all.subarray(end)];
    this.pieceBytes = all.length - end;
    return { status: Number(head.split(' ')[1]), head, body: all.subarray(headBytes + 4, end) };
  }

  /** Waits until the other side closes its half, and closes ours; throws if more comes before. */
  async readEnd(): Promise<void> {
    if (!this.ended) await this.more();
    this.socket.end();
    if (this.pieceBytes > 0) throw new Error(`${this.pieceBytes} bytes too many`);
  }

  /** Everything that has come and was not read, which then counts as read. */
  takeAll(): Buffer {
    const all = this.joined();
    this.pieces = [];
    this.pieceBytes = 0;
    return all;
  }

  /** What has come and was not read, in one piece. */
  private joined(): Buffer {
    const [first = Buffer.alloc(0)] = this.pieces;
    if (this.pieces.length <= 1) return first;
    const all = Buffer.concat(this.pieces);
    this.pieces = [all];
    return all;
  }

  /** Waits for more bytes than have come so far, or for the end. */
  async more(): Promise<void> {
    if (this.ended || this.failed) throw new Error('the connection ended too early');
    const told = new Promise<void>((resolve) => {
      this.tell = resolve;
    });
    await within('more bytes', told);
  }
}

export function get(path: string, ...fields: string[]): string {
  return [`GET ${path} HTTP/1.1`, `Host: ${STACK_ADDRESS}`, ...fields, '', ''].join('\r\n');
}
