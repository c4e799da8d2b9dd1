import type { Message } from "@bufbuild/protobuf";
import { CollectorError } from "../../errors.ts";
import type { Limits } from "../../lib/limits.ts";
import type { CallEnd, CallFailure, MetadataEntries, StreamAnswer } from "../../mesh/channel.ts";
import { type ByteMethod, requestOf, withinLimit } from "../byte-method.ts";
import { isStream } from "../runtime/raw-message.ts";
import type { LoopbackCall } from "./loopback-call.ts";
import { LoopbackRequests } from "./loopback-requests.ts";

type Item = IteratorResult<Uint8Array, undefined>;

export interface LoopbackStreamOptions {
  readonly call: LoopbackCall;
  /** Finds the method, and starts the call. @throws {CollectorError} */
  readonly open: () => ByteMethod;
  readonly messages: AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
  readonly limits: Limits;
  /** What the call fails with for what was thrown. */
  readonly fail: (error: unknown) => CallFailure;
  readonly onEnd: () => void;
}

const done: Item = { done: true, value: undefined };

/** A call of any kind that this process makes of itself: an answer is made when it is asked for. */
export class LoopbackStream implements StreamAnswer {
  readonly headers: Promise<MetadataEntries>;
  readonly messages: AsyncIterableIterator<Uint8Array, undefined>;
  readonly end: Promise<CallEnd>;
  readonly #options: LoopbackStreamOptions;
  readonly #headers = Promise.withResolvers<MetadataEntries>();
  readonly #end = Promise.withResolvers<CallEnd>();
  #method: ByteMethod | undefined;
  #requests: LoopbackRequests | undefined;
  #answers: AsyncIterator<Message> | undefined;
  /** The first message is asked for at once, as the headers come with it. */
  #ahead: Promise<Item> | undefined;
  #isOver = false;

  constructor(options: LoopbackStreamOptions) {
    this.#options = options;
    this.headers = this.#headers.promise;
    this.end = this.#end.promise;
    const { call } = options;
    const messages: AsyncIterableIterator<Uint8Array, undefined> = {
      [Symbol.asyncIterator]: () => messages,
      next: () => this.#next(),
      return: () => this.#leave(),
    };
    this.messages = messages;
    call.onFlush = () => this.#headers.resolve(call.takeHeaders());
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
    const { call, open, messages, limits } = this.#options;
    try {
      const method = open();
      this.#method = method;
      this.#requests = new LoopbackRequests(messages, limits);
      const answer = await call.within(
        requestOf(method, this.#requests).then((request) => method.invoke(request, call)),
      );
      this.#answers = (isStream(answer) ? answer : only(answer))[Symbol.asyncIterator]();
    } catch (error) {
      throw this.#finish(error);
    }
    return this.#pull();
  }

  async #pull(): Promise<Item> {
    const { call, limits } = this.#options;
    const answers = this.#answers;
    const method = this.#method;
    if (this.#isOver || answers === undefined || method === undefined) return done;
    try {
      const result = await call.within(answers.next());
      if (result.done === true) {
        this.#finish(undefined);
        return done;
      }
      const value = withinLimit(method.encode(result.value), limits);
      this.#headers.resolve(call.takeHeaders());
      return { done: false, value };
    } catch (error) {
      this.#stopAnswers();
      throw this.#finish(error);
    }
  }

  #leave(): Promise<Item> {
    if (!this.#isOver) {
      const cancelled = new CollectorError("CANCELLED", "the call was cancelled");
      this.#options.call.interrupt(cancelled);
      this.#stopAnswers();
      this.#finish(cancelled);
    }
    return Promise.resolve(done);
  }

  /** Whoever makes the answers is told that no more are wanted; that may take as long as it does. */
  #stopAnswers(): void {
    const returned = this.#answers?.return?.();
    // A failure of its clean-up comes after the call's end: nobody waits for it any more.
    returned?.catch(() => undefined);
  }

  /** @returns what the messages fail with, if `error` is something */
  #finish(error: unknown): CallFailure | undefined {
    const { call, fail, onEnd } = this.#options;
    const failure = error === undefined ? undefined : fail(error);
    if (this.#isOver) return failure;
    this.#isOver = true;
    this.#requests?.stop(call.interruption);
    this.#headers.resolve(call.takeHeaders());
    this.#end.resolve({
      code: failure?.code ?? 0,
      message: failure?.message ?? "",
      trailers: failure?.trailers ?? call.takeTrailers(),
      failure,
    });
    onEnd();
    return failure;
  }
}

async function* only(message: Message): AsyncIterable<Message> {
  yield message;
}
