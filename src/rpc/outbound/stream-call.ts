import type {
  CallEnd,
  CallFailure,
  CallOptions,
  MetadataEntries,
  StreamAnswer,
} from "../../mesh/channel.ts";
import { unpack } from "../grpc/compression.ts";
import { messageTooLarge } from "../grpc/frame.ts";
import { StreamInbound } from "../grpc/inbound.ts";
import type { ClientStream } from "../http2/client-stream.ts";
import { localFailure, ownFailure } from "./failures.ts";
import type { MessageForm } from "./message-form.ts";
import { type CallHost, OutboundCall } from "./outbound-call.ts";
import { unannounced } from "./unary-call.ts";

type Messages<T> = AsyncIterable<T> | Iterable<T>;
type Item<T> = IteratorResult<T, undefined>;

export interface StreamCallOptions<T> {
  readonly form: MessageForm<T>;
  readonly messages: Messages<T>;
  readonly options: CallOptions;
}

/** A call of any kind, whose messages are pulled at both ends. */
export class StreamCall<T> extends OutboundCall {
  readonly answer: StreamAnswer<T>;
  readonly #form: MessageForm<T>;
  readonly #headers: PromiseWithResolvers<MetadataEntries> = Promise.withResolvers();
  readonly #end: PromiseWithResolvers<CallEnd> = Promise.withResolvers();
  readonly #requests: Messages<T>;
  readonly #inbound: StreamInbound<T>;
  #iterator: AsyncIterator<T> | Iterator<T> | undefined;
  #onDrain: (() => void) | undefined;

  constructor(host: CallHost, path: string, { form, messages, options }: StreamCallOptions<T>) {
    super(host, path, options);
    this.#form = form;
    this.#requests = messages;
    this.#inbound = new StreamInbound<T>({
      messageBytesMax: host.messageBytesMax,
      keepsParts: form.keepsParts,
      decode: (frame) => {
        if (!frame.compressed) return form.ofFrame(frame);
        if (!this.isPacked) throw unannounced();
        return unpack(frame.payload, host.messageBytesMax).then((bytes) => form.ofBytes(bytes));
      },
      pause: () => this.stream?.pause(),
      resume: () => this.stream?.resume(),
      onWait: () => undefined,
      isAnswerDue: false,
    });
    const answers: AsyncIterableIterator<T, undefined> = {
      next: () => this.#next(),
      return: () => this.#leave(),
      [Symbol.asyncIterator]: () => answers,
    };
    this.answer = {
      headers: this.#headers.promise,
      messages: answers,
      end: this.#end.promise,
    };
  }

  protected override wholeRequest(): undefined {
    return undefined;
  }

  protected override send(stream: ClientStream): void {
    void this.#sendAll(stream);
  }

  override onDrain(): void {
    this.#wakeSender();
  }

  protected override onAnswer(): void {
    this.#headers.resolve(this.answerHeaders);
  }

  protected override take(chunk: Uint8Array): void {
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

  #next(): Promise<Item<T>> {
    return this.#inbound.next().catch((error: unknown) => {
      const failure = ownFailure(error, true);
      this.fail(failure);
      throw failure;
    });
  }

  #leave(): Promise<Item<T>> {
    this.fail(localFailure("CANCELLED", "the call was cancelled", this.mayHaveRun));
    return this.#inbound.return();
  }

  async #sendAll(stream: ClientStream): Promise<void> {
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
          stream.end();
          return;
        }
        if (this.isOver) break;
        const byteLength = this.#form.byteLength(result.value);
        if (byteLength > messageBytesMax) throw messageTooLarge(byteLength, messageBytesMax);
        this.#form.write(result.value, stream);
        if (stream.queuedBytes < streamBufferBytesMax) continue;
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
