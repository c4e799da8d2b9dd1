import type { ClientHttp2Stream } from "node:http2";
import type {
  CallEnd,
  CallFailure,
  CallOptions,
  MetadataEntries,
  StreamAnswer,
} from "../../mesh/channel.ts";
import { unpack } from "../grpc/compression.ts";
import { encodeFrame, encodePrefix, messageTooLarge } from "../grpc/frame.ts";
import { StreamInbound } from "../grpc/inbound.ts";
import { giveBytesBack, lendBytes } from "../lent-bytes.ts";
import { localFailure, ownFailure } from "./failures.ts";
import { type CallHost, OutboundCall } from "./outbound-call.ts";
import { unannounced } from "./unary-call.ts";

type Messages = AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
type Item = IteratorResult<Uint8Array, undefined>;

/** A call of any kind, whose messages are pulled at both ends. */
export class StreamCall extends OutboundCall {
  readonly answer: StreamAnswer;
  readonly #headers: PromiseWithResolvers<MetadataEntries> = Promise.withResolvers();
  readonly #end: PromiseWithResolvers<CallEnd> = Promise.withResolvers();
  readonly #requests: Messages;
  readonly #inbound: StreamInbound<Uint8Array>;
  #iterator: AsyncIterator<Uint8Array> | Iterator<Uint8Array> | undefined;
  #onDrain: (() => void) | undefined;

  constructor(host: CallHost, path: string, requests: Messages, options: CallOptions) {
    super(host, path, options);
    this.#requests = requests;
    this.#inbound = new StreamInbound<Uint8Array>({
      messageBytesMax: host.messageBytesMax,
      decode: (frame) => {
        if (!frame.compressed) {
          if (frame.giveBack !== undefined) lendBytes(frame.payload, frame.giveBack);
          return frame.payload;
        }
        if (!this.isPacked) throw unannounced();
        return unpack(frame.payload, host.messageBytesMax);
      },
      pause: () => this.stream?.pause(),
      resume: () => this.stream?.resume(),
      onWait: () => undefined,
      isAnswerDue: false,
    });
    const messages: AsyncIterableIterator<Uint8Array, undefined> = {
      next: () => this.#next(),
      return: () => this.#leave(),
      [Symbol.asyncIterator]: () => messages,
    };
    this.answer = { headers: this.#headers.promise, messages, end: this.#end.promise };
  }

  protected override send(stream: ClientHttp2Stream): void {
    stream.on("drain", () => this.#wakeSender());
    void this.#sendAll(stream);
  }

  protected override onHeaders(): void {
    this.#headers.resolve(this.answerHeaders);
  }

  protected override onData(chunk: Uint8Array): void {
    this.#inbound.push(chunk);
  }

  protected override onStatus(failure: CallFailure | undefined): void {
    this.#inbound.end(failure);
    this.#settle(failure);
  }

  protected override onFailure(failure: CallFailure): void {
    // What the peer sent before the connection broke is still good; who cancels wants no more.
    if (failure.reason === "PEER_UNAVAILABLE" || failure.isRemote) this.#inbound.end(failure);
    else this.#inbound.abort(failure);
    this.#settle(failure);
  }

  #settle(failure: CallFailure | undefined): void {
    this.#headers.resolve([]);
    this.#end.resolve({
      code: failure?.code ?? 0,
      message: failure?.message ?? "",
      trailers: failure?.trailers ?? this.answerTrailers,
      failure,
    });
    this.#wakeSender();
    this.#stopSending();
  }

  #next(): Promise<Item> {
    return this.#inbound.next().catch((error: unknown) => {
      const failure = ownFailure(error, true);
      this.fail(failure);
      throw failure;
    });
  }

  #leave(): Promise<Item> {
    this.fail(localFailure("CANCELLED", "the call was cancelled", this.mayHaveRun));
    return this.#inbound.return();
  }

  async #sendAll(stream: ClientHttp2Stream): Promise<void> {
    const { messageBytesMax, streamBufferBytesMax } = this.host;
    try {
      const requests = this.#requests;
      const iterator =
        Symbol.asyncIterator in requests
          ? requests[Symbol.asyncIterator]()
          : requests[Symbol.iterator]();
      this.#iterator = iterator;
      while (!this.isOver) {
        const result = await iterator.next();
        if (result.done === true) {
          this.#iterator = undefined;
          if (!stream.destroyed) stream.end();
          return;
        }
        if (this.isOver) break;
        const { byteLength } = result.value;
        if (byteLength > messageBytesMax) throw messageTooLarge(byteLength, messageBytesMax);
        const isTaken = writeFrame(stream, result.value);
        if (isTaken || stream.writableLength < streamBufferBytesMax) continue;
        await new Promise<void>((resolve) => {
          this.#onDrain = resolve;
        });
      }
    } catch (error) {
      this.#iterator = undefined;
      this.fail(ownFailure(error, true));
    }
    this.#stopSending();
  }

  #wakeSender(): void {
    const resolve = this.#onDrain;
    this.#onDrain = undefined;
    resolve?.();
  }

  /** Whoever makes the requests is told that no more are wanted. */
  #stopSending(): void {
    const iterator = this.#iterator;
    this.#iterator = undefined;
    if (iterator?.return === undefined) return;
    // A failure of its clean-up comes after the call's end: nobody waits for it any more.
    Promise.resolve(iterator.return()).catch(() => undefined);
  }
}

/** From this size on a message is written as it is, behind its prefix, instead of being copied into a frame. */
const uncopiedBytesMin = 32 * 1024;

/** Memory that was lent for the message goes back when its bytes have left. @returns whether there is room for more */
function writeFrame(stream: ClientHttp2Stream, message: Uint8Array): boolean {
  if (message.byteLength < uncopiedBytesMin) {
    const isTaken = stream.write(encodeFrame(message));
    giveBytesBack(message);
    return isTaken;
  }
  stream.cork();
  stream.write(encodePrefix(message.byteLength));
  const isTaken = stream.write(message, (error) => {
    if (error === undefined || error === null) giveBytesBack(message);
  });
  stream.uncork();
  return isTaken;
}
