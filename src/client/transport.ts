import { Code, ConnectError, type Transport } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { toClientError } from "./client-error.ts";

/** What a stream may have in flight before it has to be read: at 64 KiB, 10 ms of latency leave 4 MB/s. */
const streamWindowBytes = 8 * 1024 * 1024;

export interface TransportOptions {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
  readonly messageBytesMax: number;
  /** PEM of the authorities to trust instead of the system's. */
  readonly ca: string | undefined;
}

export interface OpenTransport {
  readonly transport: Transport;
  /** Ends the connection; calls in flight fail, and so do later ones. */
  close(): void;
}

/** gRPC over one HTTP/2 connection, which is opened by the first call and again when it is lost. */
export function openTransport(options: TransportOptions): OpenTransport {
  const sessions = new Http2SessionManager(
    options.url,
    {},
    {
      settings: { initialWindowSize: streamWindowBytes },
      ...(options.ca === undefined ? {} : { ca: options.ca }),
    },
  );
  let isClosed = false;
  const grpc = createGrpcTransport({
    baseUrl: options.url,
    sessionManager: sessions,
    defaultTimeoutMs: options.timeoutMs,
    readMaxBytes: options.messageBytesMax,
    // On one machine compressing costs more than it saves, and JavaScript pays for it.
    acceptCompression: [],
    interceptors: [
      (next) => (request) => {
        if (isClosed) throw new ConnectError("the client is closed", Code.Canceled);
        for (const [name, value] of Object.entries(options.headers)) {
          if (!request.header.has(name)) request.header.set(name, value);
        }
        return next(request);
      },
    ],
  });
  return {
    transport: translateErrors(grpc, options.url),
    close: () => {
      isClosed = true;
      sessions.abort();
    },
  };
}

/** Has everything that `transport` throws, at once or while a stream is read, become a ClientError. */
function translateErrors(transport: Transport, url: string): Transport {
  return {
    async unary(...call) {
      try {
        return await transport.unary(...call);
      } catch (error) {
        throw toClientError(error, url);
      }
    },
    async stream(...call) {
      try {
        const response = await transport.stream(...call);
        return { ...response, message: translateStream(response.message, url) };
      } catch (error) {
        throw toClientError(error, url);
      }
    },
  };
}

async function* translateStream<T>(messages: AsyncIterable<T>, url: string): AsyncIterable<T> {
  try {
    yield* messages;
  } catch (error) {
    throw toClientError(error, url);
  }
}
