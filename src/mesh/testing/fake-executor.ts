import type { CallOptions, Channel, StreamAnswer, UnaryAnswer } from "../channel.ts";
import type { Executor } from "../executor.ts";

/** An executor that is what a test says, and answers every message with itself. */
export function fakeExecutor(id: string, overrides: Partial<Executor> = {}): Executor {
  return {
    id,
    kind: "endpoint",
    namespace: "default",
    serviceName: "shop.v1.Shop",
    address: "",
    labels: {},
    collectorId: "here",
    sinceMs: 0,
    ready: true,
    problem: "",
    inFlight: 0,
    channel: new EchoChannel(),
    ...overrides,
  };
}

class EchoChannel implements Channel {
  readonly endpoint = "http://127.0.0.1:1";
  readonly state = "ready";

  unary(_path: string, message: Uint8Array, _options?: CallOptions): Promise<UnaryAnswer> {
    return Promise.resolve({ message, headers: [], trailers: [] });
  }

  stream(
    _path: string,
    messages: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
    _options?: CallOptions,
  ): StreamAnswer {
    const end = Promise.withResolvers<Awaited<StreamAnswer["end"]>>();
    async function* echo(): AsyncGenerator<Uint8Array, undefined> {
      try {
        yield* messages;
      } finally {
        end.resolve({ code: 0, message: "", trailers: [], failure: undefined });
      }
    }
    return { headers: Promise.resolve([]), messages: echo(), end: end.promise };
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }
}
