import type { Socket } from "node:net";
import type { HeaderList } from "../../grpc/server-stream.ts";
import { ClientStream, type ClientStreamListener, type StreamHost } from "./client-stream.ts";
import { FrameParser, type FrameSink } from "./frame-parser.ts";
import {
  errorCode,
  frameFlag,
  frameHeadBytes,
  frameOf,
  frameType,
  goAwayFrame,
  numberFrame,
  ProtocolError,
  payloadBytesMax,
  preface,
  setting,
  settingsFrame,
  windowBytesDefault,
  windowBytesMax,
  writeHead,
} from "./frames.ts";
import { HeaderBlockError, HeaderDecoder } from "./header-decoder.ts";
import { HeaderEncoder } from "./header-encoder.ts";
import { OutgoingBytes } from "./outgoing-bytes.ts";

export interface ClientSessionOptions {
  readonly socket: Socket;
  /** What each request begins with. */
  readonly baseHeaders: HeaderList;
  /** Names and values of one header block of an answer, and 32 bytes for each. */
  readonly headerBytesMax: number;
  /** What may be on its way to us, on one stream and on all of them. */
  readonly windowBytes: number;
  /** Bytes held for streams that are paused; beyond that the peer is held back as a whole. */
  readonly heldBytesMax: number;
  /** The peer speaks HTTP/2: its settings are there. */
  readonly onReady: () => void;
  /** The peer takes no more streams. */
  readonly onGoAway: (code: number) => void;
  /** All streams are gone, and the socket is. */
  readonly onClose: () => void;
}

/** A header block of a peer, as it comes: packed, and so it may become larger than this. */
const blockBytesMax = 64 * 1024;

/** The last id that is used: those after it would have to be told from none. */
const streamIdMax = 2 ** 31 - 1001;

interface OpenBlock {
  readonly streamId: number;
  readonly isLast: boolean;
  readonly parts: Buffer[];
  bytes: number;
}

/**
 * The client's side of an HTTP/2 connection, as far as gRPC needs it (RFC 9113): no push, no
 * priorities. It never stops reading, whatever waits to be written: two peers that both did would wait
 * for each other for ever.
 */
export class ClientSession implements StreamHost, FrameSink {
  readonly windowBytes: number;
  readonly #options: ClientSessionOptions;
  readonly #out: OutgoingBytes;
  readonly #parser: FrameParser;
  readonly #encoder = new HeaderEncoder();
  readonly #decoder: HeaderDecoder;
  readonly #streams = new Map<number, ClientStream>();
  /** Those that have something to send, and room for it. */
  readonly #sending = new Set<ClientStream>();
  readonly #pings: ((isAnswered: boolean) => void)[] = [];
  #openBlock: OpenBlock | undefined;
  #isReady = false;
  #isClosing = false;
  #isClosed = false;
  #nextId = 1;
  #lastTakenId = Number.POSITIVE_INFINITY;
  #sendWindow = windowBytesDefault;
  #streamWindow = windowBytesDefault;
  #streamsMax = Number.POSITIVE_INFINITY;
  #unwidenedBytes = 0;
  #heldBytes = 0;

  constructor(options: ClientSessionOptions) {
    this.#options = options;
    const { socket, windowBytes } = options;
    this.windowBytes = windowBytes;
    this.#parser = new FrameParser(this);
    this.#decoder = new HeaderDecoder(options.headerBytesMax);
    this.#out = new OutgoingBytes(socket, {
      onFlush: () => this.#sendData(),
      onStuck: () => this.destroy(errorCode.enhanceYourCalm),
    });
    socket.on("data", (chunk: Buffer) => this.#receive(chunk));
    socket.on("close", () => this.#finish());
    if (socket.destroyed) process.nextTick(() => this.#finish());
    this.#out.push(preface);
    this.#out.push(
      settingsFrame([
        [setting.enablePush, 0],
        [setting.initialWindowSize, windowBytes],
        [setting.maxHeaderListSize, options.headerBytesMax],
      ]),
    );
    this.#out.push(numberFrame(frameType.windowUpdate, 0, windowBytes - windowBytesDefault));
  }

  /** Whether it takes no more streams. */
  get isClosed(): boolean {
    return this.#isClosing || this.#isClosed || this.#nextId > streamIdMax;
  }

  /** Streams at a time that the peer takes. */
  get streamsMax(): number {
    return this.#streamsMax;
  }

  /** Whether a stream has provably not reached the peer's hands. */
  neverSaw(stream: ClientStream): boolean {
    return stream.id > this.#lastTakenId || !this.#out.hasLeft(stream.id);
  }

  /**
   * Begins a stream.
   *
   * @param body all of the request's data, if it is known: then the request is whole
   */
  open(
    path: string,
    headers: HeaderList,
    listener: ClientStreamListener,
    body?: Uint8Array,
  ): ClientStream {
    const id = this.#nextId;
    this.#nextId += 2;
    const stream = new ClientStream(this, id, listener, this.#streamWindow);
    this.#streams.set(id, stream);
    const block = this.#encoder.encode(this.#options.baseHeaders, path, headers);
    const bodyBytes = body?.byteLength ?? 0;
    const fits = bodyBytes <= Math.min(payloadBytesMax, this.#sendWindow, this.#streamWindow);
    const isSmall = block.byteLength <= payloadBytesMax;
    if (body !== undefined && fits && isSmall && this.#sending.size === 0 && this.#out.hasRoom) {
      this.#sendWhole(stream, block, body);
      return stream;
    }
    this.#sendBlock(id, block);
    if (body !== undefined) {
      stream.write(body);
      stream.end();
    }
    return stream;
  }

  /** Asks for a sign of life. @param done whether it came; it did not if the connection is gone first */
  ping(done: (isAnswered: boolean) => void): void {
    if (this.#isClosed) {
      done(false);
      return;
    }
    this.#pings.push(done);
    this.#out.push(frameOf(frameType.ping, 0, 0, Buffer.alloc(8)));
  }

  /** Takes no more streams, and closes when those that it has are gone. */
  close(): void {
    if (this.#isClosing) return;
    this.#isClosing = true;
    this.#closeIfEmpty();
  }

  /** Ends every stream and closes at once. */
  destroy(code: number = errorCode.none): void {
    if (this.#isClosed) return;
    this.#out.push(goAwayFrame(0, code));
    this.#out.flush();
    this.#options.socket.destroy();
    this.#finish();
  }

  wantsToSend(stream: ClientStream): void {
    if (!stream.canSend) return;
    this.#sending.add(stream);
    this.#out.schedule();
  }

  sendReset(streamId: number, code: number): void {
    this.#out.push(numberFrame(frameType.reset, streamId, code));
  }

  widen(streamId: number, bytes: number): void {
    this.#out.push(numberFrame(frameType.windowUpdate, streamId, bytes));
  }

  noteHeld(bytes: number): void {
    this.#heldBytes += bytes;
    if (bytes < 0) this.#widenAll();
  }

  noteClosed(stream: ClientStream): void {
    this.#streams.delete(stream.id);
    this.#sending.delete(stream);
    this.#closeIfEmpty();
  }

  onData(streamId: number, chunk: Buffer, isLast: boolean): void {
    if (!this.#isReady) throw notFirst();
    if (this.#openBlock !== undefined) throw notWhole();
    this.#countReceived(chunk.byteLength);
    const stream = this.#known(streamId);
    if (stream === undefined) return;
    if (!stream.receiveData(chunk)) stream.close(errorCode.flowControl);
    else if (isLast) stream.receiveEnd();
  }

  onFrame(type: number, flags: number, streamId: number, payload: Buffer): void {
    if (!this.#isReady && (type !== frameType.settings || (flags & frameFlag.ack) !== 0)) {
      throw notFirst();
    }
    if (this.#openBlock !== undefined && type !== frameType.continuation) {
      throw notWhole();
    }
    switch (type) {
      case frameType.data:
        this.#onPaddedData(flags, streamId, payload);
        break;
      case frameType.headers:
        this.#onHeaders(flags, streamId, payload);
        break;
      case frameType.continuation:
        this.#onContinuation(flags, streamId, payload);
        break;
      case frameType.reset:
        expectLength(payload, 4);
        this.#known(streamId)?.receiveReset(payload.readUInt32BE(0));
        break;
      case frameType.settings:
        this.#onSettings(flags, payload);
        break;
      case frameType.ping:
        this.#onPing(flags, payload);
        break;
      case frameType.goAway:
        this.#onGoAway(payload);
        break;
      case frameType.windowUpdate:
        this.#onWindowUpdate(streamId, payload);
        break;
      case frameType.pushPromise:
        throw new ProtocolError("a push, which was refused");
      default:
      // Priorities, and what is not known here, mean nothing.
    }
  }

  #receive(chunk: Buffer): void {
    if (this.#isClosed) return;
    try {
      this.#parser.push(chunk);
    } catch (error) {
      if (error instanceof ProtocolError) this.destroy(error.code);
      else if (error instanceof HeaderBlockError) this.destroy(errorCode.compression);
      else throw error;
    }
  }

  #onPaddedData(flags: number, streamId: number, payload: Buffer): void {
    const data = withoutPadding(flags, payload);
    const paddingBytes = payload.byteLength - data.byteLength;
    this.#countReceived(paddingBytes);
    this.#streams.get(streamId)?.receivePadding(paddingBytes);
    const isLast = (flags & frameFlag.endStream) !== 0;
    if (data.byteLength > 0) this.onData(streamId, data, isLast);
    else if (isLast) this.#known(streamId)?.receiveEnd();
  }

  #onHeaders(flags: number, streamId: number, payload: Buffer): void {
    let block = withoutPadding(flags, payload);
    if ((flags & frameFlag.priority) !== 0) block = block.subarray(5);
    const isLast = (flags & frameFlag.endStream) !== 0;
    if ((flags & frameFlag.endHeaders) !== 0) this.#decode(streamId, block, isLast);
    else {
      const parts = [Buffer.from(block)];
      this.#openBlock = { streamId, isLast, parts, bytes: block.byteLength };
    }
  }

  #onContinuation(flags: number, streamId: number, payload: Buffer): void {
    const open = this.#openBlock;
    if (open === undefined || open.streamId !== streamId) {
      throw new ProtocolError("a CONTINUATION of nothing");
    }
    // Even an empty one counts, or they could go on for ever.
    open.bytes += payload.byteLength + frameHeadBytes;
    if (open.bytes > blockBytesMax) {
      throw new ProtocolError("a header block that is too large", errorCode.enhanceYourCalm);
    }
    open.parts.push(Buffer.from(payload));
    if ((flags & frameFlag.endHeaders) === 0) return;
    this.#openBlock = undefined;
    this.#decode(streamId, Buffer.concat(open.parts), open.isLast);
  }

  #decode(streamId: number, block: Buffer, isLast: boolean): void {
    // Whoever it is for, it has to be read: it may change the table.
    const { list, problem } = this.#decoder.decode(block);
    const stream = this.#known(streamId);
    if (problem === undefined) stream?.receiveHeaders(list, isLast);
    else stream?.refuse(problem);
  }

  #onSettings(flags: number, payload: Buffer): void {
    if ((flags & frameFlag.ack) !== 0) return;
    if (payload.byteLength % 6 !== 0) throw new ProtocolError("SETTINGS", errorCode.frameSize);
    for (let at = 0; at < payload.byteLength; at += 6) {
      this.#applySetting(payload.readUInt16BE(at), payload.readUInt32BE(at + 2));
    }
    this.#out.push(frameOf(frameType.settings, frameFlag.ack, 0, Buffer.alloc(0)));
    if (this.#isReady) return;
    this.#isReady = true;
    this.#options.onReady();
  }

  #applySetting(id: number, value: number): void {
    if (id === setting.maxConcurrentStreams) this.#streamsMax = value;
    else if (id === setting.headerTableSize) this.#encoder.limitTable(value);
    else if (id === setting.initialWindowSize) {
      if (value > windowBytesMax) throw new ProtocolError("a window", errorCode.flowControl);
      const change = value - this.#streamWindow;
      this.#streamWindow = value;
      for (const stream of this.#streams.values()) {
        stream.sendWindow += change;
        this.wantsToSend(stream);
      }
    }
  }

  #onPing(flags: number, payload: Buffer): void {
    expectLength(payload, 8);
    if ((flags & frameFlag.ack) !== 0) this.#pings.shift()?.(true);
    else this.#out.push(frameOf(frameType.ping, frameFlag.ack, 0, payload));
  }

  #onGoAway(payload: Buffer): void {
    if (payload.byteLength < 8) throw new ProtocolError("GOAWAY", errorCode.frameSize);
    const lastId = payload.readUInt32BE(0) & windowBytesMax;
    this.#lastTakenId = Math.min(this.#lastTakenId, lastId);
    this.#isClosing = true;
    this.#options.onGoAway(payload.readUInt32BE(4));
    for (const stream of this.#streams.values()) {
      if (stream.id > lastId) stream.receiveReset(errorCode.refusedStream);
    }
    this.#closeIfEmpty();
  }

  #onWindowUpdate(streamId: number, payload: Buffer): void {
    expectLength(payload, 4);
    const bytes = payload.readUInt32BE(0) & windowBytesMax;
    if (streamId === 0) {
      if (bytes === 0) throw new ProtocolError("a window of nothing more");
      this.#sendWindow += bytes;
      if (this.#sendWindow > windowBytesMax) {
        throw new ProtocolError("a window", errorCode.flowControl);
      }
      if (this.#sending.size > 0) this.#out.schedule();
      return;
    }
    const stream = this.#known(streamId);
    if (stream === undefined) return;
    stream.sendWindow += bytes;
    if (bytes === 0) stream.close(errorCode.protocol);
    else if (stream.sendWindow > windowBytesMax) stream.close(errorCode.flowControl);
    else this.wantsToSend(stream);
  }

  /** @throws {ProtocolError} for a stream that there never was */
  #known(streamId: number): ClientStream | undefined {
    const stream = this.#streams.get(streamId);
    if (stream !== undefined) return stream;
    if (streamId % 2 === 0 || streamId >= this.#nextId) {
      throw new ProtocolError(`stream ${streamId} was never opened`);
    }
    return undefined;
  }

  #countReceived(bytes: number): void {
    this.#unwidenedBytes += bytes;
    if (this.#unwidenedBytes > this.windowBytes) {
      throw new ProtocolError("more than the window", errorCode.flowControl);
    }
    this.#widenAll();
  }

  /** Streams that are paused hold back themselves only, as long as that is not too much together. */
  #widenAll(): void {
    const bytes = this.#unwidenedBytes;
    if (bytes < this.windowBytes / 2 || this.#heldBytes > this.#options.heldBytesMax) return;
    this.#unwidenedBytes = 0;
    this.widen(0, bytes);
  }

  #sendWhole(stream: ClientStream, block: Buffer, body: Uint8Array): void {
    const { id } = stream;
    const { byteLength } = body;
    const bytes = Buffer.allocUnsafe(2 * frameHeadBytes + block.byteLength + byteLength);
    let at = writeHead(bytes, 0, block.byteLength, frameType.headers, frameFlag.endHeaders, id);
    bytes.set(block, at);
    at += block.byteLength;
    at = writeHead(bytes, at, byteLength, frameType.data, frameFlag.endStream, id);
    bytes.set(body, at);
    this.#sendWindow -= byteLength;
    stream.sendWindow -= byteLength;
    stream.noteRequestSent();
    this.#out.push(bytes, id);
  }

  #sendBlock(id: number, block: Buffer): void {
    let at = 0;
    do {
      const part = block.subarray(at, at + payloadBytesMax);
      const type = at === 0 ? frameType.headers : frameType.continuation;
      at += part.byteLength;
      const flags = at === block.byteLength ? frameFlag.endHeaders : 0;
      this.#out.push(frameOf(type, flags, id, part), id);
    } while (at < block.byteLength);
  }

  /** Sends what the windows and the socket let go, a frame of each stream in turn. */
  #sendData(): void {
    const touched = new Set<ClientStream>();
    while (this.#out.hasRoom) {
      const stream = this.#nextSender();
      if (stream === undefined) break;
      const data = stream.take(this.#sendWindow);
      this.#sendWindow -= data.chunk.byteLength;
      this.#out.pushData(stream.id, data);
      this.#sending.delete(stream);
      if (stream.canSend) this.#sending.add(stream);
      touched.add(stream);
    }
    for (const stream of touched) stream.tellDrain();
  }

  #nextSender(): ClientStream | undefined {
    for (const stream of this.#sending) {
      if (!stream.canSend) this.#sending.delete(stream);
      // The end of a stream takes nothing of the window.
      else if (this.#sendWindow > 0 || stream.queuedBytes === 0) return stream;
    }
    return undefined;
  }

  #closeIfEmpty(): void {
    if (!this.#isClosing || this.#isClosed || this.#streams.size > 0) return;
    this.#out.push(goAwayFrame(0, errorCode.none));
    this.#out.flush();
    // A peer that does not close its side is not waited for.
    this.#options.socket.destroySoon();
  }

  #finish(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#isClosing = true;
    this.#parser.stop();
    this.#out.stop();
    for (const stream of this.#streams.values()) stream.lose();
    for (const done of this.#pings.splice(0)) done(false);
    this.#options.onClose();
  }
}

function notFirst(): ProtocolError {
  return new ProtocolError("the first frame is no SETTINGS");
}

function notWhole(): ProtocolError {
  return new ProtocolError("a header block is not whole");
}

function withoutPadding(flags: number, payload: Buffer): Buffer {
  if ((flags & frameFlag.padded) === 0) return payload;
  const padding = payload[0] ?? payload.byteLength;
  if (padding >= payload.byteLength) throw new ProtocolError("a frame of more than padding");
  return payload.subarray(1, payload.byteLength - padding);
}

function expectLength(payload: Buffer, bytes: number): void {
  if (payload.byteLength !== bytes) throw new ProtocolError("a frame's size", errorCode.frameSize);
}
