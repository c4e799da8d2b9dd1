import type {
  DescMethod,
  DescMethodBiDiStreaming,
  DescMethodClientStreaming,
  DescMethodServerStreaming,
  DescMethodUnary,
  DescService,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf";

/** What a worker knows of a call that it runs. */
export interface WorkerCall {
  /** Full name, as in `shop.v1.Shop`. */
  readonly serviceName: string;
  readonly methodName: string;
  /** When the caller stops waiting, on the clock of `performance.now()`, in ms. */
  readonly deadlineMs: number | undefined;
  /** Fires when the caller gives up, when the deadline passes and when the collector is lost. */
  readonly signal: AbortSignal;
  readonly requestMetadata: WorkerMetadata;
  /** May be set until the first message is answered. */
  readonly responseHeaders: AnswerMetadata;
  readonly responseTrailers: AnswerMetadata;
}

/** The metadata that came with a call. Names are lower case. */
export interface WorkerMetadata {
  /** The first value of `name`. */
  get(name: string): string | undefined;
  /** The first value of `name`, which ends in `-bin`, decoded from base64. */
  getBinary(name: string): Uint8Array | undefined;
  /** Every pair, in order; values of `-bin` names as they came, in base64. */
  entries(): Iterable<readonly [string, string]>;
}

/** The metadata that goes out with an answer. A `-bin` name takes bytes. */
export interface AnswerMetadata {
  /** @throws {TypeError} for what gRPC cannot carry, and after it was sent */
  set(name: string, value: string | Uint8Array): void;
}

/** The implementation of one method, by its kind. */
export type WorkerHandler<M extends DescMethod> =
  M extends DescMethodUnary<infer I, infer O>
    ? (request: MessageShape<I>, call: WorkerCall) => Promise<MessageInitShape<O>>
    : M extends DescMethodServerStreaming<infer I, infer O>
      ? (request: MessageShape<I>, call: WorkerCall) => AsyncIterable<MessageInitShape<O>>
      : M extends DescMethodClientStreaming<infer I, infer O>
        ? (
            requests: AsyncIterable<MessageShape<I>>,
            call: WorkerCall,
          ) => Promise<MessageInitShape<O>>
        : M extends DescMethodBiDiStreaming<infer I, infer O>
          ? (
              requests: AsyncIterable<MessageShape<I>>,
              call: WorkerCall,
            ) => AsyncIterable<MessageInitShape<O>>
          : never;

/**
 * The implementation of a service: one function a method, under the method's camelCase name. What a
 * function throws as a ConnectError, or a ClientError, arrives at the caller as it is, with its
 * details; anything else is INTERNAL.
 */
export type WorkerHandlers<S extends DescService> = {
  [K in keyof S["method"]]: WorkerHandler<S["method"][K]>;
};
