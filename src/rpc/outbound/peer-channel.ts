import type { Limits } from "../../lib/limits.ts";
import type {
  CallFailure,
  CallOptions,
  ChannelState,
  FramedMessage,
  StreamAnswer,
  UnaryAnswer,
} from "../../mesh/channel.ts";
import { acceptedEncodings } from "../grpc/compression.ts";
import type { TimerWheel } from "../grpc/timer-wheel.ts";
import { Connection, calmer } from "./connection.ts";
import type { Endpoint } from "./endpoint.ts";
import { localFailure, ownFailure } from "./failures.ts";
import { framedForm, plainForm } from "./message-form.ts";
import { openSocket, type SocketOptions } from "./open-socket.ts";
import type { CallHost, OutboundCall } from "./outbound-call.ts";
import { StreamCall } from "./stream-call.ts";
import { UnaryCall } from "./unary-call.ts";

/** After a failure to connect, calls fail at once for so long: the first time, and at most. */
const backoffMinMs = 50;
const backoffMaxMs = 1000;

export interface PeerChannelOptions {
  readonly endpoint: Endpoint;
  readonly limits: Limits;
  readonly wheel: TimerWheel;
  readonly socket: Omit<SocketOptions, "connectMs">;
  /** Nothing is open any more, and nobody waits. */
  readonly onEmpty: () => void;
}

/** The connections to one endpoint, and the calls that use them or wait for them. */
export class PeerChannel implements AsyncDisposable {
  readonly #options: PeerChannelOptions;
  readonly #host: CallHost;
  readonly #connections: Connection[] = [];
  readonly #leaving = new Set<Connection>();
  readonly #queue = new Set<OutboundCall>();
  #connecting: Promise<void> | undefined;
  #backoffMs = 0;
  #failure: CallFailure | undefined;
  #retryAtMs = 0;
  #keepAliveMs: number;
  #isClosed = false;

  constructor(options: PeerChannelOptions) {
    const { limits, wheel } = options;
    this.#options = options;
    this.#keepAliveMs = limits.peerKeepAliveMs;
    this.#host = {
      wheel,
      messageBytesMax: limits.messageBytesMax,
      streamBufferBytesMax: limits.streamBufferBytesMax,
      lostReason: () => (this.#isClosed ? "SHUTTING_DOWN" : "PEER_UNAVAILABLE"),
      forget: (call) => this.#queue.delete(call),
    };
  }

  get url(): string {
    return this.#options.endpoint.url;
  }

  get state(): ChannelState {
    if (this.#isClosed) return "closed";
    if (this.#connections.length > 0) return "ready";
    if (this.#connecting !== undefined) return "connecting";
    return this.#failure === undefined ? "idle" : "failing";
  }

  /** Whether nothing is open and nobody waits. */
  get isEmpty(): boolean {
    const open = this.#connections.length + this.#leaving.size + this.#queue.size;
    return open === 0 && this.#connecting === undefined;
  }

  unary(path: string, message: Uint8Array, options: CallOptions): Promise<UnaryAnswer> {
    const call = new UnaryCall(this.#host, path, message, options);
    this.#start(call);
    return call.answer;
  }

  stream(
    path: string,
    messages: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
    options: CallOptions,
  ): StreamAnswer {
    const call = new StreamCall(this.#host, path, { form: plainForm, messages, options });
    this.#start(call);
    return call.answer;
  }

  streamFramed(
    path: string,
    messages: AsyncIterable<FramedMessage> | Iterable<FramedMessage>,
    options: CallOptions,
  ): StreamAnswer<FramedMessage> {
    const call = new StreamCall(this.#host, path, { form: framedForm, messages, options });
    this.#start(call);
    return call.answer;
  }

  /** Lets calls in flight go on, and closes behind them. */
  retire(): void {
    // Those that retire leave the list.
    const open = [...this.#connections];
    for (const connection of open) connection.retire();
  }

  /** Ends every call and closes. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    this.#failQueue(shuttingDown());
    const open = [...this.#connections, ...this.#leaving];
    await Promise.all(open.map((connection) => connection[Symbol.asyncDispose]()));
    await this.#connecting;
  }

  #start(call: OutboundCall): void {
    if (!call.start()) return;
    const connection = this.#connections.find(({ hasRoom }) => hasRoom);
    if (connection !== undefined) call.attach(connection);
    else this.#wait(call);
  }

  #wait(call: OutboundCall): void {
    const { peerQueueMax, peerConnectionsMax } = this.#options.limits;
    const failure = this.#failure;
    if (this.#isClosed) {
      call.fail(shuttingDown());
    } else if (failure !== undefined && performance.now() < this.#retryAtMs) {
      call.fail(failure);
    } else if (this.#queue.size >= peerQueueMax) {
      const text = `${peerQueueMax} calls to ${this.url} are waiting, the limit (peerQueueMax)`;
      call.fail(localFailure("OVERLOADED", text, false));
    } else {
      this.#queue.add(call);
      if (this.#connections.length < peerConnectionsMax) this.#connecting ??= this.#connect();
    }
  }

  async #connect(): Promise<void> {
    try {
      const connection = await this.#open();
      this.#failure = undefined;
      this.#backoffMs = 0;
      this.#connections.push(connection);
      if (this.#isClosed) await connection[Symbol.asyncDispose]();
    } catch (error) {
      const failure = ownFailure(error, false);
      this.#backoffMs = Math.min(backoffMaxMs, Math.max(backoffMinMs, this.#backoffMs * 2));
      this.#failure = failure;
      this.#retryAtMs = performance.now() + this.#backoffMs;
      // Where others are open, their streams come free.
      if (this.#connections.length === 0) this.#failQueue(failure);
    } finally {
      this.#connecting = undefined;
    }
    this.#serveQueue();
    if (this.isEmpty) this.#options.onEmpty();
  }

  async #open(): Promise<Connection> {
    const { endpoint, limits, socket } = this.#options;
    const { peerConnectMs: connectMs, headerBytesMax, peerIdleMs: idleMs } = limits;
    return Connection.open(await openSocket(endpoint, { ...socket, connectMs }), {
      url: endpoint.url,
      baseHeaders: baseHeaders(endpoint),
      headerBytesMax,
      connectMs,
      idleMs,
      keepAliveMs: this.#keepAliveMs,
      onRoom: () => {
        if (this.#queue.size > 0) this.#serveQueue();
      },
      onLeave: (connection) => this.#leave(connection),
      onClose: (connection) => {
        this.#leaving.delete(connection);
        if (this.isEmpty) this.#options.onEmpty();
      },
    });
  }

  #leave(connection: Connection): void {
    const at = this.#connections.indexOf(connection);
    if (at < 0) return;
    this.#connections.splice(at, 1);
    this.#leaving.add(connection);
    if (connection.isPeerAnnoyed) this.#keepAliveMs = calmer(this.#keepAliveMs);
    this.#serveQueue();
  }

  #serveQueue(): void {
    for (const call of this.#queue) {
      const connection = this.#connections.find(({ hasRoom }) => hasRoom);
      if (connection === undefined) break;
      this.#queue.delete(call);
      call.attach(connection);
    }
    const hasSlot = this.#connections.length < this.#options.limits.peerConnectionsMax;
    const mayTry = this.#failure === undefined || performance.now() >= this.#retryAtMs;
    if (this.#queue.size > 0 && hasSlot && mayTry && !this.#isClosed) {
      this.#connecting ??= this.#connect();
    }
  }

  #failQueue(failure: CallFailure): void {
    for (const call of this.#queue) call.fail(failure);
  }
}

function baseHeaders({ secure, url }: Endpoint): string[] {
  return [
    ":method",
    "POST",
    ":scheme",
    secure ? "https" : "http",
    ":authority",
    url.slice(url.indexOf("//") + 2),
    "te",
    "trailers",
    "content-type",
    "application/grpc",
    "grpc-accept-encoding",
    acceptedEncodings,
  ];
}

function shuttingDown(): CallFailure {
  return localFailure("SHUTTING_DOWN", "this server is shutting down", false);
}
