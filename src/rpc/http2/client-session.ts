import type { Socket } from "node:net";
import type { HeaderList } from "../grpc/server-stream.ts";
import { ClientStream, type ClientStreamListener } from "./client-stream.ts";
import {
  errorCode,
  frameFlag,
  frameHeadBytes,
  frameType,
  numberFrame,
  ProtocolError,
  payloadBytesMax,
  preface,
  setting,
  settingsFrame,
  windowBytesDefault,
  writeHead,
} from "./frames.ts";
import type { WholeBlock } from "./header-blocks.ts";
import { HeaderEncoder } from "./header-encoder.ts";
import { Http2Connection } from "./http2-connection.ts";

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

/** The last id that is used: those after it would have to be told from none. */
const streamIdMax = 2 ** 31 - 1001;

/** What waits for a server that makes us answer; we have chosen to dial it. */
const stuckBytesMax = 32 * 1024 * 1024;

/** The client's side of an HTTP/2 connection. */
export class ClientSession extends Http2Connection<ClientStream> {
  protected override readonly lastPeerId = 0;
  readonly #options: ClientSessionOptions;
  readonly #encoder = new HeaderEncoder();
  #nextId = 1;
  #lastTakenId = Number.POSITIVE_INFINITY;
  #streamsMax = Number.POSITIVE_INFINITY;

  constructor(options: ClientSessionOptions) {
    super({ ...options, stuckBytesMax });
    this.#options = options;
    const { windowBytes } = options;
    this.out.push(preface);
    this.out.push(
      settingsFrame([
        [setting.enablePush, 0],
        [setting.initialWindowSize, windowBytes],
        [setting.maxHeaderListSize, options.headerBytesMax],
      ]),
    );
    this.out.push(numberFrame(frameType.windowUpdate, 0, windowBytes - windowBytesDefault));
  }

  /** Whether it takes no more streams. */
  get isClosed(): boolean {
    return this.isClosing || this.isOver || this.#nextId > streamIdMax;
  }

  /** Streams at a time that the peer takes. */
  get streamsMax(): number {
    return this.#streamsMax;
  }

  /** Whether a stream has provably not reached the peer's hands. */
  neverSaw(stream: ClientStream): boolean {
    return stream.id > this.#lastTakenId || !this.out.hasLeft(stream.id);
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
    const stream = new ClientStream(this, id, listener, this.streamWindow);
    this.streams.add(stream);
    const block = this.#encoder.encode(this.#options.baseHeaders, path, headers);
    const bodyBytes = body?.byteLength ?? 0;
    const fits = bodyBytes <= Math.min(payloadBytesMax, this.sendWindow, this.streamWindow);
    const isSmall = block.byteLength <= payloadBytesMax;
    if (body !== undefined && fits && isSmall && !this.hasSenders && this.out.hasRoom) {
      this.#sendWhole(stream, block, body);
      return stream;
    }
    this.sendBlock(id, block, false, id);
    if (body !== undefined) {
      stream.write(body);
      stream.end();
    }
    return stream;
  }

  protected override onReady(): void {
    this.#options.onReady();
  }

  protected override wasOpened(streamId: number): boolean {
    return streamId % 2 === 1 && streamId < this.#nextId;
  }

  protected override receiveBlock({ streamId, headers, isLast }: WholeBlock): void {
    const { list, problem } = headers;
    const stream = this.streams.get(streamId);
    if (stream === undefined && !this.wasOpened(streamId)) {
      throw new ProtocolError(`stream ${streamId} was never opened`);
    }
    if (problem === undefined) stream?.receiveHeaders(list, isLast);
    else stream?.refuse(problem);
  }

  protected override applySetting(id: number, value: number): void {
    if (id === setting.maxConcurrentStreams) this.#streamsMax = value;
    else if (id === setting.headerTableSize) this.#encoder.limitTable(value);
  }

  protected override receiveGoAway({
    lastId,
    code,
  }: {
    readonly lastId: number;
    readonly code: number;
  }): void {
    this.#lastTakenId = Math.min(this.#lastTakenId, lastId);
    this.isClosing = true;
    this.#options.onGoAway(code);
    for (const stream of this.streams.values()) {
      if (stream.id > lastId) stream.receiveReset(errorCode.refusedStream);
    }
    this.closeIfEmpty();
  }

  protected override noteVain(): void {
    // It is a server that we have chosen to dial.
  }

  protected override noteReset(): void {
    // As for what is in vain.
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
    this.sendWindow -= byteLength;
    stream.sendWindow -= byteLength;
    stream.noteRequestSent();
    this.out.push(bytes, id);
  }
}
