import { connect, type Socket } from "node:net";
import { HeaderBlocks } from "./header-block.ts";

const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
const frameHead = 9;
const type = { data: 0, headers: 1, reset: 3, settings: 4, ping: 6, goAway: 7, window: 8 } as const;
const flag = { endStream: 1, ack: 1, endHeaders: 4 } as const;

/** The largest window there is, so that the server never waits for this client. */
const windowMax = 2 ** 31 - 1;
/** The window of a connection before the other end raises it. */
const windowDefault = 65_535;
/** Streams at a time until the server says how many it takes. */
const streamsDefault = 100;
const maxConcurrentStreams = 3;

/** Told of every call that ends. `failure` is absent if a message was answered. */
export type OnEnd = (tag: number, beganMs: number, failure?: string) => void;

interface WaitingCall {
  readonly path: string;
  readonly message: Buffer;
  readonly tag: number;
  readonly beganMs: number;
}

interface OpenCall {
  readonly tag: number;
  readonly beganMs: number;
  answered: boolean;
}

/**
 * One HTTP/2 connection that makes gRPC calls at far less cost than a server can answer them: header
 * blocks are made once, answers' headers are not decoded, and all that one read of the socket brings
 * is answered by one write. A call for which the server takes no further stream waits here, as it does
 * in any client, and that is part of its time.
 */
export class LoadConnection {
  readonly #socket: Socket;
  readonly #authority: string;
  readonly #headers = new HeaderBlocks();
  readonly #calls = new Map<number, OpenCall>();
  readonly #onEnd: OnEnd;
  #out: Buffer = Buffer.allocUnsafe(64 * 1024);
  #outLength = 0;
  #rest: Buffer = Buffer.alloc(0);
  #nextStream = 1;
  #sendWindow = windowDefault;
  #streamsMax = streamsDefault;
  #received = 0;
  readonly #waiting: WaitingCall[] = [];
  #reading = false;
  #failure: Error | undefined;

  private constructor(socket: Socket, authority: string, onEnd: OnEnd) {
    this.#socket = socket;
    this.#authority = authority;
    this.#onEnd = onEnd;
    socket.setNoDelay(true);
    socket.on("data", (chunk: Buffer) => this.#read(chunk));
    socket.on("error", (error) => this.#fail(error));
    socket.on("close", () => this.#fail(new Error("the server closed the connection")));
    this.#write(preface);
    // SETTINGS: no push, the largest window for each stream.
    this.#frame(type.settings, 0, 0, settings([2, 0], [4, windowMax]));
    this.#frame(type.window, 0, 0, uint32(windowMax - windowDefault));
    this.flush();
  }

  static async open(url: string, onEnd: OnEnd): Promise<LoadConnection> {
    const { hostname, port, host } = new URL(url);
    const socket = connect(Number(port), hostname);
    await new Promise((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("error", reject);
    });
    return new LoadConnection(socket, host, onEnd);
  }

  /** Why the connection is of no use any more. */
  get failure(): Error | undefined {
    return this.#failure;
  }

  get open(): number {
    return this.#calls.size + this.#waiting.length;
  }

  /** Begins a call; `message` is framed, and is copied. {@link flush} sends it. */
  call(path: string, message: Buffer, tag: number): void {
    if (this.#failure !== undefined) return;
    const beganMs = performance.now();
    if (this.#waiting.length > 0 || !this.#hasRoomFor(message)) {
      this.#waiting.push({ path, message: Buffer.from(message), tag, beganMs });
    } else this.#begin({ path, message, tag, beganMs });
  }

  flush(): void {
    if (this.#outLength === 0 || this.#reading) return;
    // The socket keeps what it cannot send at once, so it gets memory of its own.
    const out = Buffer.allocUnsafe(this.#outLength);
    this.#out.copy(out, 0, 0, this.#outLength);
    this.#outLength = 0;
    this.#socket.write(out);
  }

  close(): void {
    this.#socket.removeAllListeners("close");
    this.#socket.destroy();
  }

  #begin({ path, message, tag, beganMs }: WaitingCall): void {
    const stream = this.#nextStream;
    this.#nextStream += 2;
    this.#sendWindow -= message.length;
    this.#calls.set(stream, { tag, beganMs, answered: false });
    const headers = this.#headers.of(path, this.#authority);
    this.#frame(type.headers, flag.endHeaders, stream, headers);
    this.#frame(type.data, flag.endStream, stream, message);
  }

  #read(chunk: Buffer): void {
    this.#reading = true;
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let at = 0;
    while (bytes.length - at >= frameHead) {
      const length = bytes.readUIntBE(at, 3);
      const end = at + frameHead + length;
      if (end > bytes.length) break;
      this.#take(bytes, at, end);
      at = end;
    }
    this.#rest = at === bytes.length ? Buffer.alloc(0) : Buffer.from(bytes.subarray(at));
    this.#reading = false;
    this.flush();
  }

  #take(bytes: Buffer, at: number, end: number): void {
    const flags = bytes.readUInt8(at + 4);
    const stream = bytes.readUInt32BE(at + 5) & windowMax;
    switch (bytes.readUInt8(at + 3)) {
      case type.data:
        this.#receive(end - at - frameHead);
        if (end - at > frameHead) {
          const call = this.#calls.get(stream);
          if (call !== undefined) call.answered = true;
        }
        if ((flags & flag.endStream) !== 0) this.#end(stream);
        break;
      case type.headers:
        if ((flags & flag.endStream) !== 0) this.#end(stream);
        break;
      case type.reset:
        this.#end(stream, `reset with code ${bytes.readUInt32BE(at + frameHead)}`);
        break;
      case type.settings:
        if ((flags & flag.ack) === 0) {
          this.#readSettings(bytes.subarray(at + frameHead, end));
          this.#frame(type.settings, flag.ack, 0, Buffer.alloc(0));
        }
        break;
      case type.ping:
        if ((flags & flag.ack) === 0) {
          this.#frame(type.ping, flag.ack, 0, bytes.subarray(at + frameHead, end));
        }
        break;
      case type.goAway:
        this.#fail(new Error(`GOAWAY with code ${bytes.readUInt32BE(at + frameHead + 4)}`));
        break;
      case type.window:
        if (stream === 0) this.#widen(bytes.readUInt32BE(at + frameHead));
        break;
      default:
    }
  }

  #end(stream: number, failure?: string): void {
    const call = this.#calls.get(stream);
    if (call === undefined) return;
    this.#calls.delete(stream);
    const { tag, beganMs, answered } = call;
    this.#onEnd(tag, beganMs, failure ?? (answered ? undefined : "a status without a message"));
    this.#beginWaiting();
  }

  #readSettings(payload: Buffer): void {
    for (let at = 0; at + 6 <= payload.length; at += 6) {
      const isStreams = payload.readUInt16BE(at) === maxConcurrentStreams;
      if (isStreams) this.#streamsMax = payload.readUInt32BE(at + 2);
    }
    this.#beginWaiting();
  }

  #widen(bytes: number): void {
    this.#sendWindow += bytes;
    this.#beginWaiting();
  }

  #hasRoomFor(message: Buffer): boolean {
    return this.#calls.size < this.#streamsMax && message.length <= this.#sendWindow;
  }

  #beginWaiting(): void {
    for (;;) {
      const [next] = this.#waiting;
      if (next === undefined || !this.#hasRoomFor(next.message)) return;
      this.#waiting.shift();
      this.#begin(next);
    }
  }

  #receive(bytes: number): void {
    this.#received += bytes;
    if (this.#received < 2 ** 29) return;
    this.#frame(type.window, 0, 0, uint32(this.#received));
    this.#received = 0;
  }

  #frame(kind: number, flags: number, stream: number, payload: Buffer): void {
    this.#reserve(frameHead + payload.length);
    const out = this.#out;
    let at = this.#outLength;
    at = out.writeUIntBE(payload.length, at, 3);
    at = out.writeUInt8(kind, at);
    at = out.writeUInt8(flags, at);
    at = out.writeUInt32BE(stream, at);
    payload.copy(out, at);
    this.#outLength = at + payload.length;
  }

  #write(bytes: Buffer): void {
    this.#reserve(bytes.length);
    bytes.copy(this.#out, this.#outLength);
    this.#outLength += bytes.length;
  }

  #reserve(bytes: number): void {
    if (this.#outLength + bytes <= this.#out.length) return;
    const wider = Buffer.allocUnsafe(Math.max(this.#out.length * 2, this.#outLength + bytes));
    this.#out.copy(wider, 0, 0, this.#outLength);
    this.#out = wider;
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    for (const { tag, beganMs } of this.#calls.values()) this.#onEnd(tag, beganMs, error.message);
    this.#calls.clear();
    this.#waiting.length = 0;
  }
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

function settings(...pairs: readonly (readonly [number, number])[]): Buffer {
  const bytes = Buffer.alloc(pairs.length * 6);
  for (const [index, [id, value]] of pairs.entries()) {
    bytes.writeUInt16BE(id, index * 6);
    bytes.writeUInt32BE(value, index * 6 + 2);
  }
  return bytes;
}
