import type {
  DescMethod,
  DescMethodBiDiStreaming,
  DescMethodClientStreaming,
  DescMethodServerStreaming,
  DescMethodUnary,
  DescService,
  Message,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf";
import type { Via } from "../mesh/links/link-calls.ts";

/** The metadata that came with a call. Names are lower case. */
export interface RequestMetadata {
  /** The first value of `name`. */
  get(name: string): string | undefined;
  /** The first value of `name`, which ends in `-bin`, decoded from base64. */
  getBinary(name: string): Uint8Array | undefined;
  /** Every pair, in order; values of `-bin` names as they came, in base64. */
  entries(): Iterable<readonly [string, string]>;
}

/** The metadata that goes out with an answer. A `-bin` name takes bytes. */
export interface ResponseMetadata {
  set(name: string, value: string | Uint8Array): void;
}

/**
 * What handlers and interceptors know of the call they serve. No transport shows through.
 *
 * `signal` and the metadata may be made when first asked for, so a handler that needs none of them
 * pays for none.
 */
export interface Call {
  /** Full name, as in `collector.CollectionService`. */
  readonly serviceName: string;
  readonly methodName: string;
  readonly protocol: "grpc" | "grpc-web" | "connect" | "http" | "local";
  /** Address of the caller, `127.0.0.1:40412`, or `local`. */
  readonly peer: string;
  /**
   * The link that the call came over; undefined if it is no call of a linked collector. Only with it
   * `requestMetadata` has headers in our name (`x-collector-…`) beside that of the namespace.
   */
  readonly via?: Via | undefined;
  /** Unique within this process's life; it is in the log line of the call. */
  requestId: string;
  /** The namespace the call is about; set by the namespace interceptor. */
  namespace: string;
  /** When the caller stops waiting, on the clock of `performance.now()`, in ms. */
  deadlineMs: number | undefined;
  /** Fires when the caller hangs up, when the deadline passes and when the server gives up draining. */
  readonly signal: AbortSignal;
  readonly requestMetadata: RequestMetadata;
  /** May be set until the first message is answered. */
  readonly responseHeaders: ResponseMetadata;
  readonly responseTrailers: ResponseMetadata;
}

/** One message, or a stream of them, according to the method's kind. */
export type Payload = Message | AsyncIterable<Message>;

/** Runs a call. A streaming answer is returned at once and fails while it is read. */
export type Invocation = (input: Payload, call: Call) => Promise<Payload>;

/** Wraps an invocation; composed once, when the server starts. */
export type Interceptor = (next: Invocation) => Invocation;

/**
 * Serves a method that this server has no types for: messages pass as the bytes they came in, one
 * item each, already decompressed. The answer's items are written as they are pulled.
 */
export type RawInvocation = (
  input: AsyncIterable<Uint8Array>,
  call: Call,
) => AsyncIterable<Uint8Array>;

/** A method that is served here. */
export interface BoundMethod {
  readonly desc: DescMethod;
  readonly invoke: Invocation;
}

/** What the transports ask when a call comes in. Cheap: asked for every call. */
export interface Routes {
  find(serviceName: string, methodName: string): BoundMethod | undefined;
  /** Asked for gRPC calls that `find` does not know; undefined answers UNIMPLEMENTED. */
  findRaw(serviceName: string, methodName: string): RawInvocation | undefined;
  /** Every method served here, for transports that mount them one by one. */
  list(): Iterable<BoundMethod>;
}

/** The implementation of one method, by its kind. */
export type MethodHandler<M extends DescMethod> =
  M extends DescMethodUnary<infer I, infer O>
    ? (request: MessageShape<I>, call: Call) => Promise<MessageInitShape<O>>
    : M extends DescMethodServerStreaming<infer I, infer O>
      ? (request: MessageShape<I>, call: Call) => AsyncIterable<MessageInitShape<O>>
      : M extends DescMethodClientStreaming<infer I, infer O>
        ? (requests: AsyncIterable<MessageShape<I>>, call: Call) => Promise<MessageInitShape<O>>
        : M extends DescMethodBiDiStreaming<infer I, infer O>
          ? (
              requests: AsyncIterable<MessageShape<I>>,
              call: Call,
            ) => AsyncIterable<MessageInitShape<O>>
          : never;

/** The implementation of a service: one function a method, under the method's camelCase name. */
export type ServiceHandlers<S extends DescService> = {
  [K in keyof S["method"]]: MethodHandler<S["method"][K]>;
};
