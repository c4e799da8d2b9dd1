import { grpcStreams } from "./grpc-streams.ts";
import { grpcUnary } from "./grpc-unary.ts";
import { Http2Connection } from "./http2-connection.ts";
import { type OpenTransport, type TransportOptions, translateErrors } from "./transport-parts.ts";

/** What a stream may have in flight before it has to be read: at 64 KiB, 10 ms of latency leave 4 MB/s. */
const streamWindowBytes = 8 * 1024 * 1024;

/** gRPC over one HTTP/2 connection, which is opened by the first call and again when it is lost. */
export function openTransport(options: TransportOptions): OpenTransport {
  const connection = new Http2Connection(options.url, {
    settings: { initialWindowSize: streamWindowBytes },
    ...(options.ca === undefined ? {} : { ca: options.ca }),
  });
  const state = { isClosed: false };
  const parts = { ...options, connection, state };
  const transport = { unary: grpcUnary(parts), stream: grpcStreams(parts) };
  return {
    transport: translateErrors(transport, options.url),
    close: () => {
      state.isClosed = true;
      connection.abort();
    },
  };
}
