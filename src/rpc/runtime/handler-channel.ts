import type { DescMessage, DescService, Message } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { CollectorError } from "../../errors.ts";
import type { Log } from "../../lib/log.ts";
import type {
  CallFailure,
  CallOptions,
  Channel,
  ChannelState,
  StreamAnswer,
  UnaryAnswer,
} from "../../mesh/channel.ts";
import type { BoundMethod, ServiceHandlers } from "../call.ts";
import { decodeOwned } from "../encoding/message-decoder.ts";
import { encodeMessage } from "../encoding/message-encoder.ts";
import { bindHandlers } from "../route-table.ts";
import { HandlerCall, namespaceOf } from "./handler-call.ts";
import { HandlerStream } from "./handler-stream.ts";
import { handlerFailure } from "./own-failure.ts";

export interface HandlerChannelOptions<S extends DescService> {
  readonly service: S;
  readonly handlers: ServiceHandlers<S>;
  /** Of calls that name none. */
  readonly namespace: string;
  readonly newRequestId: () => string;
  /** Told of failures that are bugs of the handlers. */
  readonly log: Pick<Log, "error">;
}

/** A method, and what it is called by. */
interface Named {
  readonly serviceName: string;
  readonly methodName: string;
  readonly method: BoundMethod;
}

/**
 * Functions of this process behind the interface of a server that is dialled. A handler that fails
 * does so with what its caller would see of a remote one.
 */
export class HandlerChannel<S extends DescService> implements Channel {
  readonly endpoint = "";
  readonly #options: HandlerChannelOptions<S>;
  readonly #methods = new Map<string, Named>();
  #isClosed = false;

  constructor(options: HandlerChannelOptions<S>) {
    this.#options = options;
    const { service, handlers } = options;
    const { typeName: serviceName } = service;
    for (const [methodName, method] of bindHandlers(service, handlers)) {
      this.#methods.set(`/${serviceName}/${methodName}`, { serviceName, methodName, method });
    }
  }

  get state(): ChannelState {
    return this.#isClosed ? "closed" : "ready";
  }

  unary(path: string, message: Uint8Array, options: CallOptions = {}): Promise<UnaryAnswer> {
    const call = this.#open(path, options);
    const fail = (error: unknown): never => {
      throw this.#fail(error, call);
    };
    try {
      const { desc, invoke } = this.#find(path, call);
      return invoke(decodeRequest(desc.input, message), call).then((answer) => {
        try {
          return toAnswer(desc.output, answer as Message, call);
        } catch (error) {
          return fail(error);
        }
      }, fail);
    } catch (error) {
      return Promise.reject(this.#fail(error, call));
    }
  }

  stream(
    path: string,
    messages: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
    options: CallOptions = {},
  ): StreamAnswer {
    const left = new AbortController();
    const { signal: given } = options;
    const signal = given === undefined ? left.signal : AbortSignal.any([given, left.signal]);
    const { metadata, namespace, deadlineMs } = options;
    const call = this.#open(path, { metadata, namespace, deadlineMs, signal });
    return new HandlerStream({
      call,
      left,
      method: () => this.#find(path, call),
      messages,
      decode: decodeRequest,
      fail: (error) => this.#fail(error, call),
    });
  }

  /** Calls under way go on. */
  [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    return Promise.resolve();
  }

  #open(path: string, options: CallOptions): HandlerCall {
    const { serviceName, methodName } = this.#methods.get(path) ?? namesIn(path);
    return new HandlerCall({
      serviceName,
      methodName,
      namespace: options.namespace ?? namespaceOf(options) ?? this.#options.namespace,
      options,
      newRequestId: this.#options.newRequestId,
    });
  }

  /** @throws {CollectorError} METHOD_UNIMPLEMENTED for a method that is newer than the handlers */
  #find(path: string, { serviceName, methodName }: HandlerCall): BoundMethod {
    const method = this.#methods.get(path)?.method;
    if (method !== undefined) return method;
    const { service } = this.#options;
    throw new CollectorError(
      "METHOD_UNIMPLEMENTED",
      `the handlers of ${service.typeName} have no method ${methodName}`,
      { subject: { service: serviceName, method: methodName } },
    );
  }

  #fail(error: unknown, call: HandlerCall): CallFailure {
    const { requestId, serviceName, methodName } = call;
    const failure = handlerFailure(error, requestId, {
      headers: call.takeHeaders(),
      trailers: call.takeTrailers(),
    });
    const isForeseen = error instanceof CollectorError || error instanceof ConnectError;
    const code: Code = failure.code;
    const isBug = code === Code.Internal && !isForeseen;
    if (isBug) {
      const method = `${serviceName}/${methodName}`;
      this.#options.log.error({ err: error, requestId, method }, "a handler failed");
    }
    return failure;
  }
}

function namesIn(path: string): Omit<Named, "method"> {
  const slash = path.indexOf("/", 1);
  return { serviceName: path.slice(1, slash), methodName: path.slice(slash + 1) };
}

function toAnswer(desc: DescMessage, answer: Message, call: HandlerCall): UnaryAnswer {
  const message = encodeMessage(desc, answer, 0);
  return { message, headers: call.takeHeaders(), trailers: call.takeTrailers() };
}

/** @throws {CollectorError} ARGUMENT_INVALID */
function decodeRequest(desc: BoundMethod["desc"]["input"], bytes: Uint8Array): Message {
  try {
    return decodeOwned(desc, bytes);
  } catch (cause) {
    throw new CollectorError("ARGUMENT_INVALID", `the request is no valid ${desc.typeName}`, {
      cause,
    });
  }
}
