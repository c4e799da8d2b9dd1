import { CollectorError } from "../../errors.ts";
import type { Limits } from "../../lib/limits.ts";
import type {
  CallFailure,
  CallOptions,
  Channel,
  ChannelState,
  Dialer,
  FramedMessage,
  StreamAnswer,
  UnaryAnswer,
} from "../../mesh/channel.ts";
import { TimerWheel } from "../grpc/timer-wheel.ts";
import { type Endpoint, parseEndpoint } from "./endpoint.ts";
import { endpointDenied, localFailure } from "./failures.ts";
import type { Resolve } from "./open-socket.ts";
import { PeerChannel } from "./peer-channel.ts";
import { PeerList } from "./peer-list.ts";

export interface DialerOptions {
  /** Entries of the configuration's `peers`. */
  readonly peers: readonly string[];
  /** Whether this machine's loopback may be dialled without being listed. */
  readonly allowsLoopback: boolean;
  /** Certificates in PEM of the authorities that peers are checked against. */
  readonly ca?: string | undefined;
  /** Instead of the system's resolver. */
  readonly resolve?: Resolve | undefined;
  readonly limits: Limits;
}

interface Shared {
  readonly channel: PeerChannel;
  users: number;
}

/** Dials other gRPC servers: one set of connections an endpoint, shared by all who dial it. */
export class PeerDialer implements Dialer, AsyncDisposable {
  readonly #options: DialerOptions;
  readonly #peers: PeerList;
  readonly #wheel = new TimerWheel();
  readonly #shared = new Map<string, Shared>();
  #isClosed = false;

  /** @throws {CollectorError} ARGUMENT_INVALID for an entry of `peers` that is none */
  constructor(options: DialerOptions) {
    this.#options = options;
    this.#peers = PeerList.parse(options.peers, options.allowsLoopback);
  }

  dial(text: string, field: string): Channel {
    const endpoint = this.#read(text, field);
    if (this.#isClosed) throw new CollectorError("SHUTTING_DOWN", "this server is shutting down");
    const shared = this.#shared.get(endpoint.url) ?? this.#open(endpoint);
    shared.users += 1;
    return new ChannelHandle(shared.channel, () => this.#release(shared));
  }

  check(text: string, field: string): void {
    this.#read(text, field);
  }

  /** Ends every call and closes every connection. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    const open = [...this.#shared.values()];
    await Promise.all(open.map(({ channel }) => channel[Symbol.asyncDispose]()));
  }

  #read(text: string, field: string): Endpoint {
    const endpoint = parseEndpoint(text);
    if (endpoint !== undefined && this.#peers.mayAllow(endpoint.host, endpoint.port)) {
      return endpoint;
    }
    throw endpointDenied(field);
  }

  #open(endpoint: Endpoint): Shared {
    const { limits, ca, resolve } = this.#options;
    const shared: Shared = {
      channel: new PeerChannel({
        endpoint,
        limits,
        wheel: this.#wheel,
        socket: { peers: this.#peers, ca, resolve },
        onEmpty: () => this.#forget(shared),
      }),
      users: 0,
    };
    this.#shared.set(endpoint.url, shared);
    return shared;
  }

  #release(shared: Shared): void {
    shared.users -= 1;
    if (shared.users > 0) return;
    shared.channel.retire();
    this.#forget(shared);
  }

  /** Forgets what nobody uses and where nothing is open. */
  #forget(shared: Shared): void {
    if (shared.users === 0 && shared.channel.isEmpty) this.#shared.delete(shared.channel.url);
  }
}

/** One user's hold on the connections to an endpoint. */
class ChannelHandle implements Channel {
  readonly endpoint: string;
  readonly #channel: PeerChannel;
  readonly #release: () => void;
  #isClosed = false;

  constructor(channel: PeerChannel, release: () => void) {
    this.endpoint = channel.url;
    this.#channel = channel;
    this.#release = release;
  }

  get state(): ChannelState {
    return this.#isClosed ? "closed" : this.#channel.state;
  }

  unary(path: string, message: Uint8Array, options: CallOptions = {}): Promise<UnaryAnswer> {
    if (this.#isClosed) return Promise.reject(channelClosed());
    return this.#channel.unary(path, message, options);
  }

  stream(
    path: string,
    messages: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
    options: CallOptions = {},
  ): StreamAnswer {
    if (this.#isClosed) throw channelClosed();
    return this.#channel.stream(path, messages, options);
  }

  streamFramed(
    path: string,
    messages: AsyncIterable<FramedMessage> | Iterable<FramedMessage>,
    options: CallOptions = {},
  ): StreamAnswer<FramedMessage> {
    if (this.#isClosed) throw channelClosed();
    return this.#channel.streamFramed(path, messages, options);
  }

  [Symbol.asyncDispose](): Promise<void> {
    if (!this.#isClosed) {
      this.#isClosed = true;
      this.#release();
    }
    return Promise.resolve();
  }
}

function channelClosed(): CallFailure {
  return localFailure("CANCELLED", "the channel was closed before the call", false);
}
