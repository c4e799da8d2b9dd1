import { createConnectTransport } from "@connectrpc/connect-web";
import {
  type OpenTransport,
  type TransportOptions,
  translateErrors,
  withHeaders,
} from "./transport-parts.ts";

/** Connect over `fetch`, for browsers: these have no gRPC, and keep connections themselves. */
export function openTransport(options: TransportOptions): OpenTransport {
  const closed = { isClosed: false };
  const connect = createConnectTransport({
    baseUrl: options.url,
    useBinaryFormat: true,
    defaultTimeoutMs: options.timeoutMs,
    interceptors: [withHeaders(options.headers, closed)],
  });
  return {
    transport: translateErrors(connect, options.url),
    close: () => {
      closed.isClosed = true;
    },
  };
}
