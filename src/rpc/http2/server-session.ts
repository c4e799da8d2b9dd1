import type { Socket } from "node:net";
import type { HeaderList, IncomingHeaders } from "../grpc/server-stream.ts";
import { Allowance } from "./allowance.ts";
import { AnswerHeaders } from "./answer-headers.ts";
import { dropTable } from "./block-writer.ts";
import {
  errorCode,
  frameFlag,
  frameHeadBytes,
  frameType,
  goAwayFrame,
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
import { Http2Connection } from "./http2-connection.ts";
import { announcedBytes, readRequestHeaders } from "./request-headers.ts";
import { type RequestHost, RequestStream } from "./request-stream.ts";
import { tableBytesDefault } from "./static-headers.ts";

export interface ServerSessionOptions {
  /** Its first bytes are still unread. */
  readonly socket: Socket;
  /** Names and values of the headers of a request, and 32 bytes for each. */
  readonly headerBytesMax: number;
  /** What may be on its way to us, on one stream and on all of them. */
  readonly windowBytes: number;
  /** Requests at a time. */
  readonly streamsMax: number;
  /** Takes a request: listens to its stream before it returns. */
  readonly onRequest: (
    stream: RequestStream,
    headers: IncomingHeaders,
    rawHeaders: HeaderList,
  ) => void;
  /** The connection is one between linked collectors. */
  readonly onExempt: () => void;
  /** Why the connection is ended: the client does what it must not. */
  readonly onFault?: (fault: Error) => void;
  /** All streams are gone, and the socket is. */
  readonly onClose: () => void;
}

/** Streams that a client may have reset, or make us reset, at once and in a second: what nghttp2 allows. */
const resetsAllowed = { burst: 1000, perSecond: 33 } as const;

/** Frames that do nothing: settings, empty data, priorities, what is unknown. Pings only have to be read, see below. */
const vainAllowed = { burst: 10_000, perSecond: 1000 } as const;

/** What waits for a client beyond what its streams may give to the socket; then it is cut off. */
const stuckBytesMax = 8 * 1024 * 1024;

/** How long a client may take to see that it is asked to leave. */
const noticeMs = 1000;

/** The last stream id there can be: "everything you have sent is taken". */
const streamIdMax = 2 ** 31 - 1;

/**
 * The server's side of an HTTP/2 connection (RFC 9113). What a client can make it keep and do for nothing is bounded:
 * streams, resets, windows, header blocks, frames that do nothing, answers that it does not read.
 */
export class ServerSession extends Http2Connection<RequestStream> implements RequestHost {
  readonly peer: string;
  readonly answers: AnswerHeaders = new AnswerHeaders();
  readonly #options: ServerSessionOptions;
  readonly #resets = new Allowance(resetsAllowed.burst, resetsAllowed.perSecond);
  readonly #vain = new Allowance(vainAllowed.burst, vainAllowed.perSecond);
  #prefaceBytes = 0;
  /** The last stream that was taken, and the last one that the client has begun. */
  #takenId = 0;
  #begunId = 0;
  #streamsMax: number;
  #hasToDropTable = false;
  #isAskedToLeave = false;
  /** What {@link check} saw the last time. */
  #seen: { readonly takenBytes: number; readonly looks: number } | undefined;

  constructor(options: ServerSessionOptions) {
    const { socket, windowBytes, streamsMax } = options;
    super({ ...options, heldBytesMax: 0, stuckBytesMax });
    this.#options = options;
    this.#streamsMax = streamsMax;
    const { remoteAddress = "unknown", remotePort = 0 } = socket;
    const isV6 = remoteAddress.includes(":");
    this.peer = `${isV6 ? `[${remoteAddress}]` : remoteAddress}:${remotePort}`;
    this.out.push(
      settingsFrame([
        [setting.maxConcurrentStreams, streamsMax],
        [setting.initialWindowSize, windowBytes],
        [setting.maxHeaderListSize, options.headerBytesMax],
      ]),
    );
    this.out.push(numberFrame(frameType.windowUpdate, 0, windowBytes - windowBytesDefault));
  }

  /** Takes so many requests at a time from now on. */
  allowStreams(streamsMax: number): void {
    if (this.isOver) return;
    this.#streamsMax = streamsMax;
    this.out.push(settingsFrame([[setting.maxConcurrentStreams, streamsMax]]));
  }

  /**
   * GOAWAY in two steps, so that no call is lost: first "send no more", then, when a ping says that the client has
   * read it, the id of the last stream that is served.
   */
  askToLeave(): void {
    if (this.isClosing || this.#isAskedToLeave) return;
    this.#isAskedToLeave = true;
    const leave = (): void => {
      clearTimeout(timer);
      this.#leave();
    };
    const timer = setTimeout(leave, noticeMs);
    this.out.push(goAwayFrame(streamIdMax, errorCode.none));
    this.ping(leave);
  }

  /**
   * Looked at now and then: a client that has not said what it speaks, that stops in the middle of its headers, or that
   * takes none of what waits for it, is cut off.
   *
   * @param looksMax how often it may be found so again. Not a time, which may have passed because this process stood
   * still, and could not see what the client did
   */
  check(looksMax: number): void {
    const { bytesWritten, writableLength } = this.socket;
    const takenBytes = bytesWritten - writableLength;
    const isStuck = writableLength > 0 && takenBytes === this.#seen?.takenBytes;
    if (this.isReady && !this.isInsideBlock && !isStuck) this.#seen = undefined;
    const looks = this.#seen === undefined ? 0 : this.#seen.looks + 1;
    this.#seen = { takenBytes, looks };
    if (looks >= looksMax) this.giveUp("it has done nothing for too long");
  }

  exempt(): void {
    this.#options.onExempt();
  }

  override sendReset(streamId: number, code: number): void {
    super.sendReset(streamId, code);
    // A client that makes us reset its streams costs as much as one that does it itself.
    if (code !== errorCode.none && code !== errorCode.cancel) this.noteReset();
  }

  sendHeaders(stream: RequestStream, block: Uint8Array, isLast: boolean): void {
    this.sendBlock(stream.id, block, isLast);
  }

  sendWhole(
    stream: RequestStream,
    opening: Uint8Array,
    body: Uint8Array,
    closing: Uint8Array,
  ): boolean {
    const { byteLength } = body;
    const room = Math.min(payloadBytesMax, this.sendWindow, stream.sendWindow);
    const areSmall = Math.max(opening.byteLength, closing.byteLength) <= payloadBytesMax;
    const isNext = !this.hasSenders && !this.#hasToDropTable && this.out.hasRoom;
    if (byteLength > room || !areSmall || !isNext) return false;
    const { id } = stream;
    const blocks = opening.byteLength + closing.byteLength;
    const bytes = Buffer.allocUnsafe(3 * frameHeadBytes + blocks + byteLength);
    let at = writeHead(bytes, 0, opening.byteLength, frameType.headers, frameFlag.endHeaders, id);
    bytes.set(opening, at);
    at = writeHead(bytes, at + opening.byteLength, byteLength, frameType.data, 0, id);
    bytes.set(body, at);
    const ends = frameFlag.endHeaders | frameFlag.endStream;
    at = writeHead(bytes, at + byteLength, closing.byteLength, frameType.headers, ends, id);
    bytes.set(closing, at);
    this.sendWindow -= byteLength;
    stream.sendWindow -= byteLength;
    this.out.push(bytes);
    return true;
  }

  protected override get lastPeerId(): number {
    return this.#takenId;
  }

  /** @throws {ProtocolError} for a connection that does not begin as one of HTTP/2 does */
  protected override receive(chunk: Buffer): void {
    if (this.#prefaceBytes === preface.byteLength) {
      this.parser.push(chunk);
      return;
    }
    const part = chunk.subarray(0, preface.byteLength - this.#prefaceBytes);
    const expected = preface.subarray(this.#prefaceBytes, this.#prefaceBytes + part.byteLength);
    if (!part.equals(expected)) throw new ProtocolError("no preface");
    this.#prefaceBytes += part.byteLength;
    if (part.byteLength < chunk.byteLength) this.parser.push(chunk.subarray(part.byteLength));
  }

  protected override sendBlock(streamId: number, block: Uint8Array, isLast: boolean): void {
    const drops = this.#hasToDropTable;
    this.#hasToDropTable = false;
    super.sendBlock(streamId, drops ? Buffer.concat([dropTable, block]) : block, isLast);
  }

  protected override onReady(): void {
    // Requests come by themselves.
  }

  protected override wasOpened(streamId: number): boolean {
    return streamId % 2 === 1 && streamId <= this.#begunId;
  }

  protected override receiveBlock({ streamId, headers, isLast }: WholeBlock): void {
    const { list, problem } = headers;
    const open = this.streams.get(streamId);
    if (open !== undefined) {
      open.receiveTrailers(problem === undefined && isLast && list.every(isNoPseudoHeader));
      return;
    }
    if (this.wasOpened(streamId)) {
      // It was on its way when the stream was reset.
      this.noteVain();
      return;
    }
    if (streamId % 2 === 0) throw new ProtocolError("a stream of the server's");
    this.#begunId = streamId;
    // After the last GOAWAY the client knows that it is not served.
    if (this.isClosing) return;
    this.#takenId = streamId;
    if (this.streams.size >= this.#streamsMax) this.sendReset(streamId, errorCode.refusedStream);
    else if (problem === "too large") this.sendReset(streamId, errorCode.enhanceYourCalm);
    else this.#begin(streamId, problem === undefined ? list : [], isLast);
  }

  protected override applySetting(id: number, value: number): void {
    if (id === setting.headerTableSize && value < tableBytesDefault) this.#hasToDropTable = true;
  }

  protected override receiveGoAway(): void {
    this.close();
  }

  protected override noteVain(): void {
    if (!this.#vain.take()) throw tooMuch("frames that do nothing");
  }

  protected override noteReset(): void {
    if (!this.#resets.take()) throw tooMuch("resets");
  }

  #begin(streamId: number, list: HeaderList, isLast: boolean): void {
    const headers = readRequestHeaders(list);
    const announced = headers === undefined ? Number.NaN : announcedBytes(headers);
    if (headers === undefined || Number.isNaN(announced)) {
      this.sendReset(streamId, errorCode.protocol);
      return;
    }
    const stream = new RequestStream(this, streamId, this.streamWindow, announced);
    this.streams.add(stream);
    this.#options.onRequest(stream, headers, list);
    if (isLast && !stream.isClosed) stream.receiveEnd();
  }

  #leave(): void {
    if (this.isClosing) return;
    this.isClosing = true;
    if (this.streams.size > 0) this.out.push(goAwayFrame(this.#takenId, errorCode.none));
    this.closeIfEmpty();
  }
}

function isNoPseudoHeader(text: string, at: number): boolean {
  return at % 2 === 1 || !text.startsWith(":");
}

function tooMuch(what: string): ProtocolError {
  return new ProtocolError(`too many ${what}`, errorCode.enhanceYourCalm);
}
