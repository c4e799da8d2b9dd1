import { createGrpcTransport } from "@connectrpc/connect-node";
import { grpcUnary } from "./grpc-unary.ts";
import { Http2Connection } from "./http2-connection.ts";
import {
  type OpenTransport,
  type TransportOptions,
  translateErrors,
  withHeaders,
} from "./transport-parts.ts";

/** What a stream may have in flight before it has to be read: at 64 KiB, 10 ms of latency leave 4 MB/s. */
const streamWindowBytes = 8 * 1024 * 1024;

/** gRPC over one HTTP/2 connection, which is opened by the first call and again when it is lost. */
export function openTransport(options: TransportOptions): OpenTransport {
  const connection = new Http2Connection(options.url, {
    settings: { initialWindowSize: streamWindowBytes },
    ...(options.ca === undefined ? {} : { ca: options.ca }),
  });
  const state = { isClosed: false };
  const grpc = createGrpcTransport({
    baseUrl: options.url,
    sessionManager: connection,
    defaultTimeoutMs: options.timeoutMs,
    readMaxBytes: options.messageBytesMax,
    // On one machine compressing costs more than it saves, and JavaScript pays for it.
    acceptCompression: [],
    interceptors: [withHeaders(options.headers, state)],
  });
  const { headers, timeoutMs, messageBytesMax } = options;
  const unary = grpcUnary({ connection, headers, timeoutMs, messageBytesMax, state });
  const transport = { unary, stream: grpc.stream.bind(grpc) };
  return {
    transport: translateErrors(transport, options.url),
    close: () => {
      state.isClosed = true;
      connection.abort();
    },
  };
}
