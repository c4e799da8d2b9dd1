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
import type { MetadataEntries } from "../mesh/channel.ts";
import type { Via } from "../mesh/links/link-calls.ts";
import type { RouteWish } from "../mesh/router.ts";

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
  /** Adds entries of another server's answer, as they are on the wire; the protocol's are left out. */
  pass(entries: MetadataEntries): void;
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
  /** Instead of `signal`, for a few listeners, and at less cost: each is called once with the reason. */
  onCancel?(listener: (reason: Error) => void): void;
  readonly requestMetadata: RequestMetadata;
  /** May be set until the first message is answered. */
  readonly responseHeaders: ResponseMetadata;
  readonly responseTrailers: ResponseMetadata;
  /** Id of what runs the call, if that is no handler of this server's own. */
  executorId?: string;
  /** What the choice of who runs the call has to heed. */
  readonly wish?: RouteWish | undefined;
  /** Sends the headers of the answer before its first message, where the transport can. */
  flushHeaders?(): void;
  /**
   * The connection is between linked collectors: from now on limits of streams and of connections do
   * not count it.
   */
  exemptConnection?(): void;
}

/** One message, or a stream of them, according to the method's kind. */
export type Payload = Message | AsyncIterable<Message>;

/** Runs a call. A streaming answer is returned at once and fails while it is read. May throw at once. */
export type Invocation = (input: Payload, call: Call) => Promise<Payload>;

/** Runs a call, and rejects with what `invocation` throws before it has a promise to give. */
export function invoke(invocation: Invocation, input: Payload, call: Call): Promise<Payload> {
  try {
    return invocation(input, call);
  } catch (error) {
    return Promise.reject(error);
  }
}

/** Wraps an invocation; composed once, when the server starts. */
export type Interceptor = (next: Invocation) => Invocation;

/** A method that is served here. */
export interface BoundMethod {
  readonly desc: DescMethod;
  readonly invoke: Invocation;
  /** Whether the namespace of a call is said by its header alone, whatever fields its request has. */
  readonly isRunTime?: boolean;
}

/** A message as the bytes that it came in, which are passed on as they are. */
export type RawMessage = Message & { readonly bytes: Uint8Array };

/** A method whose messages, both ways, are {@link RawMessage}s. */
export interface RawMethod {
  readonly kind: DescMethod["methodKind"];
  readonly invoke: Invocation;
}

/** The methods of services that are registered at run time. */
export interface RunTimeMethods {
  /**
   * @param namespace what the call's header names, if it names one
   * @throws {CollectorError} METHOD_NOT_REGISTERED, NAME_INVALID
   */
  raw(
    serviceName: string,
    methodName: string,
    namespace: string | undefined,
  ): RawMethod | undefined;
  /** The same method with messages of its registered types, for what has to convert them. */
  typed(
    serviceName: string,
    methodName: string,
    namespace: string | undefined,
  ): BoundMethod | undefined;
}

/** What the transports ask when a call comes in. Cheap: asked for every call. */
export interface Routes {
  find(serviceName: string, methodName: string): BoundMethod | undefined;
  /** Asked for calls that `find` does not know; undefined if there is nothing of the kind. */
  readonly runTime: RunTimeMethods | undefined;
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
