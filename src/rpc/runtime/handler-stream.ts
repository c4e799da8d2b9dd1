import type { DescMessage, Message } from "@bufbuild/protobuf";
import { CollectorError } from "../../errors.ts";
import type { CallEnd, CallFailure, MetadataEntries, StreamAnswer } from "../../mesh/channel.ts";
import type { BoundMethod } from "../call.ts";
import { encodeMessage } from "../encoding/message-encoder.ts";
import type { HandlerCall } from "./handler-call.ts";
import { isStream, mapEach } from "./raw-message.ts";

type Messages = AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
type Item = IteratorResult<Uint8Array, undefined>;

export interface HandlerStreamOptions {
  readonly call: HandlerCall;
  /** Fired when the caller wants no more. */
  readonly left: AbortController;
  /** @throws {CollectorError} METHOD_UNIMPLEMENTED */
  readonly method: () => BoundMethod;
  readonly messages: Messages;
  readonly decode: (desc: DescMessage, bytes: Uint8Array) => Message;
  readonly fail: (error: unknown) => CallFailure;
}

const done: Item = { done: true, value: undefined };

/** A call of a handler that streams. It starts at once, and is one answer ahead of its reader. */
export class HandlerStream implements StreamAnswer {
  readonly headers: Promise<MetadataEntries>;
  readonly messages: AsyncIterableIterator<Uint8Array, undefined>;
  readonly end: Promise<CallEnd>;
  readonly #options: HandlerStreamOptions;
  readonly #headers: PromiseWithResolvers<MetadataEntries> = Promise.withResolvers();
  readonly #end: PromiseWithResolvers<CallEnd> = Promise.withResolvers();
  #answers: AsyncIterator<Message> | undefined;
  #output: DescMessage | undefined;
  #ahead: Promise<Item> | undefined;
  #isOver = false;

  constructor(options: HandlerStreamOptions) {
    this.#options = options;
    this.headers = this.#headers.promise;
    this.end = this.#end.promise;
    const messages: AsyncIterableIterator<Uint8Array, undefined> = {
      [Symbol.asyncIterator]: () => messages,
      next: () => this.#next(),
      return: () => this.#leave(),
    };
    this.messages = messages;
    options.call.onFlush = () => this.#headers.resolve(options.call.takeHeaders());
    this.#ahead = this.#start();
    // Its reader may come late, or never.
    this.#ahead.catch(() => undefined);
  }

  #next(): Promise<Item> {
    const ahead = this.#ahead;
    this.#ahead = undefined;
    return ahead ?? this.#pull();
  }

  async #start(): Promise<Item> {
    const { call, method, messages, decode } = this.#options;
    try {
      const { desc, invoke } = method();
      this.#output = desc.output;
      const takesOne = desc.methodKind === "server_streaming" || desc.methodKind === "unary";
      const requests = mapEach(toAsync(messages), (bytes) => decode(desc.input, bytes));
      const answer = await invoke(takesOne ? await single(requests) : requests, call);
      this.#answers = (isStream(answer) ? answer : only(answer))[Symbol.asyncIterator]();
    } catch (error) {
      throw this.#finish(error);
    }
    return this.#pull();
  }

  async #pull(): Promise<Item> {
    const { call } = this.#options;
    const output = this.#output;
    if (this.#isOver || this.#answers === undefined || output === undefined) return done;
    try {
      const result = await this.#answers.next();
      if (result.done === true) {
        this.#finish(undefined);
        return done;
      }
      const value = encodeMessage(output, result.value, 0);
      this.#headers.resolve(call.takeHeaders());
      return { done: false, value };
    } catch (error) {
      throw this.#finish(error);
    }
  }

  async #leave(): Promise<Item> {
    if (this.#isOver) return done;
    const cancelled = new CollectorError("CANCELLED", "the call was cancelled");
    this.#finish(cancelled);
    this.#options.left.abort(cancelled);
    await this.#answers?.return?.();
    return done;
  }

  /** @returns what the messages fail with, if `error` is something */
  #finish(error: unknown): CallFailure | undefined {
    this.#isOver = true;
    const { call, fail } = this.#options;
    const failure = error === undefined ? undefined : fail(error);
    this.#headers.resolve(call.takeHeaders());
    this.#end.resolve({
      code: failure?.code ?? 0,
      message: failure?.message ?? "",
      trailers: failure?.trailers ?? call.takeTrailers(),
      failure,
    });
    return failure;
  }
}

/** @throws {CollectorError} METHOD_UNIMPLEMENTED for none or several, as gRPC has it */
async function single(requests: AsyncIterable<Message>): Promise<Message> {
  const iterator = requests[Symbol.asyncIterator]();
  const first = await iterator.next();
  if (first.done !== true && (await iterator.next()).done === true) return first.value;
  const found = first.done === true ? "none" : "more than one";
  throw new CollectorError(
    "METHOD_UNIMPLEMENTED",
    `this method takes exactly one request message, and ${found} came`,
  );
}

async function* only(message: Message): AsyncIterable<Message> {
  yield message;
}

async function* toAsync(messages: Messages): AsyncIterable<Uint8Array> {
  yield* messages;
}
