import {
  CallFailure,
  type CallOptions,
  type Channel,
  type ChannelState,
  type FramedMessage,
  type StreamAnswer,
  type UnaryAnswer,
} from "../channel.ts";
import { streamFramed } from "../framed.ts";
import { routeHeader } from "../routing/call-route.ts";

/** Carries a call that travels over a link: `<connection id>.<secret in hex>`. */
export const linkHeader = "x-collector-link";

/** gRPC's UNAVAILABLE. */
const unavailableCode = 14;

export interface LinkChannelOptions {
  /** Names the link in messages. */
  readonly endpoint: string;
  /** The ways to the other end that are open now, the best one first. */
  readonly ways: () => readonly Channel[];
  /** What calls carry so that the other end believes what they say of their way. */
  readonly credential: () => string;
  /** Why there is no way. */
  readonly problem: () => string;
}

/**
 * Calls to the collector at the other end of a link, by whatever way is open: dialled, or back over
 * the stream that the other end has opened.
 */
export class LinkChannel implements Channel {
  readonly endpoint: string;
  readonly #options: LinkChannelOptions;

  constructor(options: LinkChannelOptions) {
    this.endpoint = options.endpoint;
    this.#options = options;
  }

  get state(): ChannelState {
    return this.#way()?.state ?? "failing";
  }

  async unary(path: string, message: Uint8Array, options: CallOptions = {}): Promise<UnaryAnswer> {
    const way = this.#way();
    if (way === undefined) throw this.#noWay();
    return await way.unary(path, message, this.#withCredential(options));
  }

  stream(
    path: string,
    messages: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
    options: CallOptions = {},
  ): StreamAnswer {
    const way = this.#way();
    if (way === undefined) return failedAnswer(this.#noWay());
    return way.stream(path, messages, this.#withCredential(options));
  }

  streamFramed(
    path: string,
    messages: AsyncIterable<FramedMessage> | Iterable<FramedMessage>,
    options: CallOptions = {},
  ): StreamAnswer<FramedMessage> {
    const way = this.#way();
    if (way === undefined) return failedAnswer(this.#noWay());
    return streamFramed(way, path, messages, this.#withCredential(options));
  }

  /** It lives as long as its link. */
  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }

  #way(): Channel | undefined {
    const ways = this.#options.ways();
    return ways.find(({ state }) => state !== "failing" && state !== "closed") ?? ways[0];
  }

  #noWay(): CallFailure {
    return new CallFailure(`${this.endpoint} is down: ${this.#options.problem()}`, {
      code: unavailableCode,
      reason: "PEER_UNAVAILABLE",
      mayHaveRun: false,
    });
  }

  #withCredential(options: CallOptions): CallOptions {
    const { route = [], metadata = [] } = options;
    const own: (readonly [string, string])[] = [[linkHeader, this.#options.credential()]];
    if (route.length > 0) own.push([routeHeader, route.join(",")]);
    const { deadlineMs, onCancel } = options;
    return {
      metadata: [...own, ...metadata],
      deadlineMs,
      onCancel,
      route,
      // It is made when it is first asked for.
      get signal() {
        return options.signal;
      },
    };
  }
}

function failedAnswer<T>(failure: CallFailure): StreamAnswer<T> {
  const messages: AsyncIterableIterator<T, undefined> = {
    next: () => Promise.reject(failure),
    [Symbol.asyncIterator]: () => messages,
  };
  return {
    headers: Promise.resolve([]),
    messages,
    end: Promise.resolve({
      code: failure.code,
      message: failure.message,
      trailers: failure.trailers,
      failure,
    }),
  };
}
