import { Code, ConnectError, type Interceptor, type Transport } from "@connectrpc/connect";
import { toClientError } from "./client-error.ts";

export interface TransportOptions {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
  readonly messageBytesMax: number;
  /** PEM of the authorities to trust instead of the system's. Browsers have their own. */
  readonly ca: string | undefined;
}

export interface OpenTransport {
  /** What it throws is a {@link ClientError}. */
  readonly transport: Transport;
  /** Ends the connection; calls in flight fail, and so do later ones. */
  close(): void;
}

/** Sends headers with every call that does not have them, until the client is closed. */
export function withHeaders(
  headers: Readonly<Record<string, string>>,
  state: { readonly isClosed: boolean },
): Interceptor {
  return (next) => (request) => {
    if (state.isClosed) throw new ConnectError("the client is closed", Code.Canceled);
    for (const [name, value] of Object.entries(headers)) {
      if (!request.header.has(name)) request.header.set(name, value);
    }
    return next(request);
  };
}

/** Has everything that `transport` throws, at once or while a stream is read, become a ClientError. */
export function translateErrors(transport: Transport, url: string): Transport {
  return {
    unary(method, signal, timeoutMs, header, input, values) {
      // No async function, nor in what is around it: a call pays for each of those.
      return transport
        .unary(method, signal, timeoutMs, header, input, values)
        .catch((error: unknown) => {
          throw toClientError(error, url);
        });
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

/** A transport that somebody else has opened, with what the client adds to every call. */
export function overTransport(
  given: Transport,
  { headers, timeoutMs, url }: Pick<TransportOptions, "headers" | "timeoutMs" | "url">,
): OpenTransport {
  const state = { isClosed: false };
  const prepare = (own: ConstructorParameters<typeof Headers>[0]): Headers => {
    if (state.isClosed) throw new ConnectError("the client is closed", Code.Canceled);
    const all = new Headers(own);
    for (const [name, value] of Object.entries(headers)) {
      if (!all.has(name)) all.set(name, value);
    }
    return all;
  };
  const transport: Transport = {
    unary: async (method, signal, ms, header, input, values) =>
      await given.unary(method, signal, ms ?? timeoutMs, prepare(header), input, values),
    stream: async (method, signal, ms, header, input, values) =>
      await given.stream(method, signal, ms ?? timeoutMs, prepare(header), input, values),
  };
  return {
    transport: translateErrors(transport, url),
    close: () => {
      state.isClosed = true;
    },
  };
}
