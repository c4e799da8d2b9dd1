import type { Socket } from "node:net";
import {
  blockIn,
  expectBytes,
  expectConnection,
  notFirst,
  notWhole,
  readGoAway,
  readSettings,
  tooWide,
  withoutPadding,
} from "./frame-checks.ts";
import { FrameParser, type FrameSink } from "./frame-parser.ts";
import {
  errorCode,
  frameFlag,
  frameOf,
  frameType,
  goAwayFrame,
  numberFrame,
  ProtocolError,
  payloadBytesMax,
  setting,
  windowBytesDefault,
  windowBytesMax,
} from "./frames.ts";
import { HeaderBlocks, type WholeBlock } from "./header-blocks.ts";
import { HeaderBlockError } from "./header-decoder.ts";
import type { Http2Stream, StreamHost } from "./http2-stream.ts";
import { OutgoingBytes } from "./outgoing-bytes.ts";
import { StreamTable } from "./stream-table.ts";

export interface Http2ConnectionOptions {
  readonly socket: Socket;
  /** Names and values of one header block of the peer, and 32 bytes for each. */
  readonly headerBytesMax: number;
  /** What may be on its way to us, on one stream and on all of them. */
  readonly windowBytes: number;
  /** Bytes held for streams that are paused; beyond that the peer is held back as a whole. */
  readonly heldBytesMax: number;
  /** Bytes that wait for a peer who makes us answer and takes no answers; then it is cut off. */
  readonly stuckBytesMax: number;
  /** Why the connection is ended: the peer does what it must not. */
  readonly onFault?: ((fault: Error) => void) | undefined;
  /** All streams are gone, and the socket is. */
  readonly onClose: () => void;
}

/** How long a peer may take to hear why its connection ends, in ms. */
const farewellMs = 250;

/**
 * One HTTP/2 connection, from either end, as far as gRPC needs it (RFC 9113): no push, no priorities. It never stops
 * reading, whatever waits to be written: two peers that both did would wait for each other for ever.
 */
export abstract class Http2Connection<Stream extends Http2Stream> implements StreamHost, FrameSink {
  readonly windowBytes: number;
  protected readonly socket: Socket;
  protected readonly out: OutgoingBytes;
  protected readonly parser: FrameParser;
  protected readonly streams: StreamTable<Stream> = new StreamTable<Stream>();
  /** What the peer takes on all streams. */
  protected sendWindow: number = windowBytesDefault;
  /** What the peer takes on a new stream. */
  protected streamWindow: number = windowBytesDefault;
  protected isReady = false;
  /** It ends when its streams are gone. */
  protected isClosing = false;
  protected isOver = false;
  #isDoomed = false;
  readonly #options: Http2ConnectionOptions;
  readonly #blocks: HeaderBlocks;
  /** Those that have something to send, in turn. */
  #sending: Stream[] = [];
  readonly #pings: ((isAnswered: boolean) => void)[] = [];
  #unwidenedBytes = 0;
  #heldBytes = 0;

  constructor(options: Http2ConnectionOptions) {
    this.#options = options;
    const { socket, windowBytes } = options;
    this.socket = socket;
    this.windowBytes = windowBytes;
    this.parser = new FrameParser(this);
    this.#blocks = new HeaderBlocks(options.headerBytesMax);
    this.out = new OutgoingBytes(socket, {
      stuckBytesMax: options.stuckBytesMax,
      onFlush: () => this.#sendData(),
      onStuck: () => this.giveUp("it makes us answer, and takes no answers"),
    });
    socket.on("data", (chunk: Buffer) => this.#receive(chunk));
    socket.on("close", () => this.#finish());
    if (socket.destroyed) process.nextTick(() => this.#finish());
  }

  /** Whether a header block of the peer has begun and is not whole. */
  protected get isInsideBlock(): boolean {
    return this.#blocks.isInside;
  }

  /** Whether something of a stream waits to be sent. */
  protected get hasSenders(): boolean {
    return this.#sending.length > 0;
  }

  /** The last stream of the peer's that was taken; 0 if it opens none. */
  protected abstract readonly lastPeerId: number;
  /** Whether there has been a stream of this id. */
  protected abstract wasOpened(streamId: number): boolean;
  /** A header block, for a stream that there is or not. */
  protected abstract receiveBlock(block: WholeBlock): void;
  /** The peer's settings are there, for the first time. */
  protected abstract onReady(): void;
  /** What the peer sets, besides its windows and frames. */
  protected abstract applySetting(id: number, value: number): void;
  protected abstract receiveGoAway(leave: { readonly lastId: number; readonly code: number }): void;
  /** A frame that does nothing, for a peer that may not send too many of them. @throws {ProtocolError} */
  protected abstract noteVain(): void;
  /** The peer has reset one of its streams. @throws {ProtocolError} if it does that too often */
  protected abstract noteReset(): void;

  /** Bytes as they come. @throws {ProtocolError} @throws {HeaderBlockError} */
  protected receive(chunk: Buffer): void {
    this.parser.push(chunk);
  }

  /** Asks for a sign of life. @param done whether it came; it did not if the connection is gone first */
  ping(done: (isAnswered: boolean) => void): void {
    if (this.isOver) {
      done(false);
      return;
    }
    this.#pings.push(done);
    this.out.push(frameOf(frameType.ping, 0, 0, Buffer.alloc(8)));
  }

  /** Takes no more streams, and closes when those that it has are gone. */
  close(): void {
    if (this.isClosing) return;
    this.isClosing = true;
    this.closeIfEmpty();
  }

  /** Ends every stream and closes at once. */
  destroy(code: number = errorCode.none): void {
    if (this.isOver || this.#isDoomed) return;
    this.#isDoomed = true;
    this.out.push(goAwayFrame(this.lastPeerId, code));
    this.out.flush();
    const { socket } = this;
    // What the peer still sends is read for a while: a reset in its place would overtake the GOAWAY.
    socket.end();
    const timer = setTimeout(() => socket.destroy(), farewellMs);
    socket.once("close", () => clearTimeout(timer));
    this.#finish();
  }

  /** Ends the connection of a peer that asks for too much. */
  protected giveUp(reason: string): void {
    this.#options.onFault?.(new ProtocolError(reason, errorCode.enhanceYourCalm));
    this.destroy(errorCode.enhanceYourCalm);
  }

  wantsToSend(stream: Http2Stream): void {
    if (!stream.canSend) return;
    if (!stream.isListed) {
      stream.isListed = true;
      // It is one of this connection's own.
      this.#sending.push(stream as Stream);
    }
    this.out.schedule();
  }

  sendReset(streamId: number, code: number): void {
    this.out.push(numberFrame(frameType.reset, streamId, code));
  }

  widen(streamId: number, bytes: number): void {
    this.out.push(numberFrame(frameType.windowUpdate, streamId, bytes));
  }

  noteHeld(bytes: number): void {
    this.#heldBytes += bytes;
    if (bytes < 0) this.#widenAll();
  }

  noteClosed(stream: Http2Stream): void {
    this.streams.delete(stream.id);
    this.closeIfEmpty();
  }

  onData(streamId: number, chunk: Buffer, isLast: boolean): void {
    if (!this.isReady) throw notFirst();
    if (this.#blocks.isInside) throw notWhole();
    this.#countReceived(chunk.byteLength);
    const stream = this.#known(streamId);
    const problem = stream?.receiveData(chunk);
    if (problem !== undefined) stream?.close(problem);
    else if (isLast) stream?.receiveEnd();
    this.#widenAll();
  }

  onFrame(type: number, flags: number, streamId: number, payload: Buffer): void {
    if (!this.isReady && (type !== frameType.settings || (flags & frameFlag.ack) !== 0)) {
      throw notFirst();
    }
    if (this.#blocks.isInside && type !== frameType.continuation) throw notWhole();
    switch (type) {
      case frameType.data:
        this.#onDataFrame(flags, streamId, payload);
        break;
      case frameType.headers:
        this.#onHeaders(flags, streamId, payload);
        break;
      case frameType.continuation:
        this.#onContinuation(flags, streamId, payload);
        break;
      case frameType.reset:
        this.#onReset(streamId, payload);
        break;
      case frameType.settings:
        expectConnection(streamId);
        this.#onSettings(flags, payload);
        break;
      case frameType.ping:
        expectConnection(streamId);
        this.#onPing(flags, payload);
        break;
      case frameType.goAway:
        expectConnection(streamId);
        this.receiveGoAway(readGoAway(payload));
        break;
      case frameType.windowUpdate:
        this.#onWindowUpdate(streamId, payload);
        break;
      case frameType.pushPromise:
        throw new ProtocolError("a push, which was refused");
      default:
        // Priorities, and what is not known here, mean nothing.
        this.noteVain();
    }
  }

  /** Sends a header block in as many frames as it takes. */
  protected sendBlock(streamId: number, block: Uint8Array, isLast: boolean, opens?: number): void {
    let at = 0;
    do {
      const part = block.subarray(at, at + payloadBytesMax);
      const type = at === 0 ? frameType.headers : frameType.continuation;
      const ends = isLast && at === 0 ? frameFlag.endStream : 0;
      at += part.byteLength;
      const flags = ends | (at === block.byteLength ? frameFlag.endHeaders : 0);
      this.out.push(frameOf(type, flags, streamId, part), opens);
    } while (at < block.byteLength);
  }

  protected closeIfEmpty(): void {
    if (!this.isClosing || this.isOver || this.streams.size > 0) return;
    this.out.push(goAwayFrame(this.lastPeerId, errorCode.none));
    this.out.flush();
    // A peer that does not close its side is not waited for.
    this.socket.destroySoon();
  }

  #receive(chunk: Buffer): void {
    if (this.isOver) return;
    try {
      this.receive(chunk);
    } catch (error) {
      if (!(error instanceof ProtocolError || error instanceof HeaderBlockError)) throw error;
      this.#options.onFault?.(error);
      this.destroy(error instanceof ProtocolError ? error.code : errorCode.compression);
    }
  }

  /** One that is padded or empty; others come in parts, by {@link onData}. */
  #onDataFrame(flags: number, streamId: number, payload: Buffer): void {
    const data = withoutPadding(flags, payload);
    const paddingBytes = payload.byteLength - data.byteLength;
    const isLast = (flags & frameFlag.endStream) !== 0;
    if (data.byteLength === 0 && !isLast) this.noteVain();
    this.#countReceived(paddingBytes);
    this.streams.get(streamId)?.receivePadding(paddingBytes);
    this.onData(streamId, data, isLast);
  }

  #onHeaders(flags: number, streamId: number, payload: Buffer): void {
    const isLast = (flags & frameFlag.endStream) !== 0;
    const isWhole = (flags & frameFlag.endHeaders) !== 0;
    this.#onBlock(this.#blocks.begin(streamId, blockIn(flags, payload), { isLast, isWhole }));
  }

  #onContinuation(flags: number, streamId: number, payload: Buffer): void {
    const isWhole = (flags & frameFlag.endHeaders) !== 0;
    this.#onBlock(this.#blocks.continue(streamId, payload, isWhole));
  }

  #onBlock(block: WholeBlock | undefined): void {
    if (block === undefined) return;
    if (block.streamId === 0) throw new ProtocolError("headers of no stream");
    this.receiveBlock(block);
  }

  #onReset(streamId: number, payload: Buffer): void {
    expectBytes(payload, 4);
    const stream = this.#known(streamId);
    if (stream === undefined) {
      this.noteVain();
      return;
    }
    this.noteReset();
    stream.receiveReset(payload.readUInt32BE(0));
  }

  #onSettings(flags: number, payload: Buffer): void {
    if ((flags & frameFlag.ack) !== 0) {
      expectBytes(payload, 0);
      return;
    }
    if (this.isReady) this.noteVain();
    let window = this.streamWindow;
    for (const [id, value] of readSettings(payload)) {
      if (id === setting.initialWindowSize) window = value;
      else this.applySetting(id, value);
    }
    // Once, however often it is there: it is done to every stream.
    this.#changeWindows(window - this.streamWindow);
    this.streamWindow = window;
    this.out.push(frameOf(frameType.settings, frameFlag.ack, 0, Buffer.alloc(0)));
    if (this.isReady) return;
    this.isReady = true;
    this.onReady();
  }

  #changeWindows(change: number): void {
    if (change === 0) return;
    for (const stream of this.streams.values()) {
      stream.sendWindow += change;
      if (stream.sendWindow > windowBytesMax) throw tooWide();
      this.wantsToSend(stream);
    }
  }

  #onPing(flags: number, payload: Buffer): void {
    expectBytes(payload, 8);
    if ((flags & frameFlag.ack) !== 0) this.#pings.shift()?.(true);
    else this.out.push(frameOf(frameType.ping, frameFlag.ack, 0, payload));
  }

  #onWindowUpdate(streamId: number, payload: Buffer): void {
    expectBytes(payload, 4);
    const bytes = payload.readUInt32BE(0) & windowBytesMax;
    if (streamId === 0) {
      if (bytes === 0) throw new ProtocolError("a window of nothing more");
      this.sendWindow += bytes;
      if (this.sendWindow > windowBytesMax) throw tooWide();
      if (this.hasSenders) this.out.schedule();
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
  #known(streamId: number): Stream | undefined {
    const stream = this.streams.get(streamId);
    if (stream === undefined && !this.wasOpened(streamId)) {
      throw new ProtocolError(`stream ${streamId} was never opened`);
    }
    return stream;
  }

  #countReceived(bytes: number): void {
    this.#unwidenedBytes += bytes;
    if (this.#unwidenedBytes > this.windowBytes) {
      throw new ProtocolError("more than the window", errorCode.flowControl);
    }
  }

  /** Streams that are paused hold back themselves only, as long as that is not too much together. */
  #widenAll(): void {
    const bytes = this.#unwidenedBytes;
    const excess = Math.max(0, this.#heldBytes - this.#options.heldBytesMax);
    const taken = bytes - excess;
    // Once that gives the peer as much again as it has left.
    if (taken <= 0 || taken < this.windowBytes - bytes) return;
    this.#unwidenedBytes -= taken;
    this.widen(0, taken);
  }

  /** Sends what the windows and the socket let go, a frame of each stream in turn. */
  #sendData(): void {
    const sent: Stream[] = [];
    let hasMore = this.#sending.length > 0;
    while (hasMore && this.out.hasRoom) {
      hasMore = false;
      const turn = this.#sending;
      this.#sending = [];
      for (const stream of turn) {
        if (this.#sendOne(stream)) {
          hasMore = true;
          sent.push(stream);
        }
        if (stream.canSend) this.#sending.push(stream);
        else stream.isListed = false;
      }
    }
    for (const stream of sent) stream.tellDrain();
  }

  /** @returns whether something of it could go */
  #sendOne(stream: Stream): boolean {
    // The end of a stream takes nothing of the window.
    const mayGo = stream.canSend && (this.sendWindow > 0 || stream.queuedBytes === 0);
    if (!mayGo || !this.out.hasRoom) return false;
    const data = stream.take(this.sendWindow);
    this.sendWindow -= data.chunk.byteLength;
    if (data.chunk.byteLength > 0 || data.isLast) this.out.pushData(stream.id, data);
    if (data.trailers !== undefined) this.sendBlock(stream.id, data.trailers, true);
    stream.noteSent();
    return true;
  }

  #finish(): void {
    if (this.isOver) return;
    this.isOver = true;
    this.isClosing = true;
    this.parser.stop();
    this.out.stop();
    for (const stream of this.streams.values()) stream.lose();
    for (const done of this.#pings.splice(0)) done(false);
    this.#options.onClose();
  }
}
