import type { DescMethod } from "@bufbuild/protobuf";
import { CollectorError } from "../../errors.ts";
import type { Limits } from "../../lib/limits.ts";
import {
  CallFailure,
  type CallOptions,
  type Channel,
  type ChannelState,
  type StreamAnswer,
  type UnaryAnswer,
} from "../../mesh/channel.ts";
import {
  type ByteMethod,
  deadlineOf,
  findByteMethod,
  requestOf,
  withinLimit,
} from "../byte-method.ts";
import type { Routes } from "../call.ts";
import { TimerWheel } from "../grpc/timer-wheel.ts";
import { namespaceHeader } from "../interceptors/namespace.ts";
import { handlerFailure } from "../runtime/own-failure.ts";
import { isStream } from "../runtime/raw-message.ts";
import { codeByReason } from "../status.ts";
import { LoopbackCall } from "./loopback-call.ts";
import { LoopbackStream } from "./loopback-stream.ts";

export interface LoopbackChannelOptions {
  readonly routes: Routes;
  readonly limits: Limits;
  /** Unary methods that may run for as long as they take. */
  readonly isUnlimited: (method: DescMethod) => boolean;
  /** Makes the id under which a call is logged. */
  readonly newRequestId: () => string;
}

/**
 * Calls of this process to itself: no socket, and otherwise all that a call from outside meets.
 * Messages pass as bytes both ways, so they have their limits, and neither side holds what the other
 * one may change. See decision 0017.
 */
export class LoopbackChannel implements Channel {
  readonly endpoint = "local";
  readonly #options: LoopbackChannelOptions;
  readonly #wheel = new TimerWheel();
  readonly #calls = new Set<LoopbackCall>();
  #drained: PromiseWithResolvers<void> | undefined;

  constructor(options: LoopbackChannelOptions) {
    this.#options = options;
  }

  get state(): ChannelState {
    return this.#drained === undefined ? "ready" : "closed";
  }

  /** Calls that run. */
  get callCount(): number {
    return this.#calls.size;
  }

  async unary(path: string, message: Uint8Array, options: CallOptions = {}): Promise<UnaryAnswer> {
    const call = this.#newCall(path, options);
    try {
      const method = this.#open(call, options);
      const { limits } = this.#options;
      withinLimit(message, limits);
      const takesStream = method.kind === "client_streaming" || method.kind === "bidi_streaming";
      const request = takesStream ? await requestOf(method, only(message)) : method.decode(message);
      const answer = await call.within(method.invoke(request, call));
      const result = isStream(answer) ? await call.within(single(answer)) : answer;
      return {
        message: withinLimit(method.encode(result), limits),
        headers: call.takeHeaders(),
        trailers: call.takeTrailers(),
      };
    } catch (error) {
      throw fail(error, call);
    } finally {
      this.#close(call);
    }
  }

  stream(
    path: string,
    messages: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
    options: CallOptions = {},
  ): StreamAnswer {
    const call = this.#newCall(path, options);
    return new LoopbackStream({
      call,
      open: () => this.#open(call, options),
      messages,
      limits: this.#options.limits,
      fail: (error) => fail(error, call),
      onEnd: () => this.#close(call),
    });
  }

  /** Makes no calls from now on, lets those that run go on for so long, and ends what is left. */
  async close(drainMs: number): Promise<void> {
    this.#drained ??= Promise.withResolvers();
    if (this.#calls.size === 0) this.#drained.resolve();
    const timer = setTimeout(() => {
      const reason = new CollectorError("SHUTTING_DOWN", "the server shut down during the call");
      for (const call of this.#calls) call.interrupt(reason);
    }, drainMs);
    await this.#drained.promise;
    clearTimeout(timer);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close(0);
  }

  #newCall(path: string, options: CallOptions): LoopbackCall {
    const requestId = this.#options.newRequestId();
    return new LoopbackCall({ path, options, requestId, wheel: this.#wheel });
  }

  /** @throws {CallFailure} once it is closed @throws {CollectorError} for a method that there is not */
  #open(call: LoopbackCall, options: CallOptions): ByteMethod {
    if (this.#drained !== undefined) throw shuttingDown();
    const { routes, limits, isUnlimited } = this.#options;
    const namespace = call.requestMetadata.get(namespaceHeader);
    const method = findByteMethod(routes, call.serviceName, call.methodName, namespace);
    this.#calls.add(call);
    call.start(deadlineOf(method, options.deadlineMs, limits, isUnlimited));
    return method;
  }

  #close(call: LoopbackCall): void {
    call.end();
    this.#calls.delete(call);
    if (this.#calls.size === 0) this.#drained?.resolve();
  }
}

function fail(error: unknown, call: LoopbackCall): CallFailure {
  return handlerFailure(error, call.requestId, {
    headers: call.takeHeaders(),
    trailers: call.takeTrailers(),
  });
}

function shuttingDown(): CallFailure {
  const reason = "SHUTTING_DOWN";
  const text = "this server is shutting down; call another one";
  return new CallFailure(text, { code: codeByReason[reason], reason, mayHaveRun: false });
}

async function* only(message: Uint8Array): AsyncIterable<Uint8Array> {
  yield message;
}

/** @throws {CollectorError} METHOD_UNIMPLEMENTED, as gRPC has it, for another number than one */
async function single<T>(messages: AsyncIterable<T>): Promise<T> {
  let found: { readonly message: T } | undefined;
  for await (const message of messages) {
    if (found !== undefined) throw wrongCount("more than one");
    found = { message };
  }
  if (found === undefined) throw wrongCount("none");
  return found.message;
}

function wrongCount(found: string): CollectorError {
  return new CollectorError(
    "METHOD_UNIMPLEMENTED",
    `the answer should hold one message, and ${found} came`,
  );
}
