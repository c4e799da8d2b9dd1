import type { ClientHttp2Stream, Http2Session, IncomingHttpHeaders } from "node:http2";
import type { DescMessage, DescMethodStreaming, MessageInitShape } from "@bufbuild/protobuf";
import type { ContextValues, StreamResponse, Transport } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { connectionBroken } from "./client-error.ts";
import type { Http2Connection } from "./http2-connection.ts";
import { type TransportOptions, withHeaders } from "./transport-parts.ts";

type HeadersInit = ConstructorParameters<typeof Headers>[0];

export interface GrpcStreamsOptions extends TransportOptions {
  readonly connection: Http2Connection;
  readonly state: { readonly isClosed: boolean };
}

/**
 * Streams by connect-node, which tells of a lost connection in many ways, of which some are those of a server that has
 * given a call up. What they throw is a ConnectError, or a ClientError if the connection broke.
 */
export function grpcStreams(options: GrpcStreamsOptions): Transport["stream"] {
  const { connection, state, url } = options;
  const common = {
    baseUrl: url,
    defaultTimeoutMs: options.timeoutMs,
    readMaxBytes: options.messageBytesMax,
    // On one machine compressing costs more than it saves, and JavaScript pays for it.
    acceptCompression: [],
    interceptors: [withHeaders(options.headers, state)],
  };
  return async <I extends DescMessage, O extends DescMessage>(
    method: DescMethodStreaming<I, O>,
    signal: AbortSignal | undefined,
    timeoutMs: number | undefined,
    header: HeadersInit | undefined,
    input: AsyncIterable<MessageInitShape<I>>,
    values?: ContextValues,
  ): Promise<StreamResponse<I, O>> => {
    const sessionManager = new WatchedConnection(connection);
    const explained = (error: unknown): unknown => {
      const isOurs = state.isClosed || signal?.aborted === true;
      return sessionManager.isLost && !isOurs ? connectionBroken(url, error) : error;
    };
    const grpc = createGrpcTransport({ ...common, sessionManager });
    try {
      const response = await grpc.stream(method, signal, timeoutMs, header, input, values);
      return { ...response, message: withFailures(response.message, explained) };
    } catch (error) {
      throw explained(error);
    }
  };
}

/** Takes as little time for each message as it can: no generator. */
function withFailures<T>(
  messages: AsyncIterable<T>,
  explained: (error: unknown) => unknown,
): AsyncIterable<T> {
  return {
    [Symbol.asyncIterator]: () => {
      const iterator = messages[Symbol.asyncIterator]();
      return {
        next: () =>
          iterator.next().catch((error: unknown) => {
            throw explained(error);
          }),
      };
    },
  };
}

type SessionManager = Pick<Http2Connection, "authority" | "notifyResponseByteRead" | "request">;

/** Lends a connection for one stream, and knows whether that was cut off. */
class WatchedConnection implements SessionManager {
  readonly #connection: Http2Connection;
  #session: Http2Session | undefined;
  #hasStatus = false;

  constructor(connection: Http2Connection) {
    this.#connection = connection;
  }

  get authority(): string {
    return this.#connection.authority;
  }

  /** Whether the connection was lost before the server had said how the call ended. */
  get isLost(): boolean {
    return this.#session?.destroyed === true && !this.#hasStatus;
  }

  async request(...call: Parameters<Http2Connection["request"]>): Promise<ClientHttp2Stream> {
    const stream = await this.#connection.request(...call);
    this.#session = stream.session;
    const look = (headers: IncomingHttpHeaders): void => {
      if (headers["grpc-status"] !== undefined) this.#hasStatus = true;
    };
    stream.on("response", look).on("trailers", look);
    return stream;
  }

  notifyResponseByteRead(): void {
    this.#connection.notifyResponseByteRead();
  }

  abort(): void {
    this.#connection.abort();
  }
}
