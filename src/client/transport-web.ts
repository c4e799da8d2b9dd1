import { createConnectTransport } from "@connectrpc/connect-web";
import { connectionBroken } from "./client-error.ts";
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
    fetch: fetchFrom(options.url),
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

/** `fetch`, which says of a connection that it cannot have or that it lost that it broke: browsers tell no more. */
function fetchFrom(url: string): typeof globalThis.fetch {
  return async (input, init) => {
    const explained = (error: unknown): unknown =>
      init?.signal?.aborted === true ? error : connectionBroken(url, error);
    const response = await globalThis.fetch(input, init).catch((error: unknown) => {
      throw explained(error);
    });
    const { body, status, statusText, headers } = response;
    if (body === null) return response;
    return new Response(withFailures(body, explained), { status, statusText, headers });
  };
}

function withFailures(
  body: ReadableStream<Uint8Array<ArrayBuffer>>,
  explained: (error: unknown) => unknown,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  const reader = body.getReader();
  return new ReadableStream({
    async pull(controller) {
      try {
        const { done, value } = await reader.read();
        if (done) controller.close();
        else controller.enqueue(value);
      } catch (error) {
        controller.error(explained(error));
      }
    },
    cancel: (reason) => reader.cancel(reason),
  });
}
