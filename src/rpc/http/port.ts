import type { DescMethod } from "@bufbuild/protobuf";
import { CollectorError } from "../../errors.ts";
import type { Limits } from "../../lib/limits.ts";
import type { Log } from "../../lib/log.ts";
import type { TypeSource } from "../../registry/type-snapshot.ts";
import type { Routes } from "../call.ts";
import type { HealthState } from "../health.ts";
import { JsonCodec } from "../json-codec.ts";
import type { Metrics } from "../metrics.ts";
import { toConnectError } from "../status.ts";
import { Acceptor, type TlsFiles } from "./acceptor.ts";
import { ConnectHandlers } from "./connect-handlers.ts";
import { type HttpRoute, HttpRouteTable } from "./http-routes.ts";
import { HttpServer } from "./http-server.ts";
import { Http1Connections } from "./http1-connections.ts";
import { type GrpcStreams, Http2Sessions } from "./http2-sessions.ts";
import { OriginGuard } from "./origin-guard.ts";
import { pages } from "./pages.ts";
import type { ReceiveBudget } from "./receive-budget.ts";
import { RpcEndpoint } from "./rpc-endpoint.ts";

/** How long calls that are given up have to say so to their callers. */
const farewellMs = 250;

export interface PortOptions {
  readonly host: string;
  /** 0 picks a free one. */
  readonly port: number;
  /** With it the port speaks TLS only. */
  readonly tls?: TlsFiles | undefined;
  readonly routes: Routes;
  /** Serves gRPC on HTTP/2; all else is served here. */
  readonly grpc: GrpcStreams;
  readonly limits: Limits;
  /** For requests being received; the gRPC handler's shares are of the same one. */
  readonly budget: ReceiveBudget;
  /** Unary methods that may run for as long as they take, such as copies. */
  readonly isUnlimited?: (method: DescMethod) => boolean;
  /** Resolves Any in JSON. */
  readonly types: TypeSource;
  readonly defaultNamespace: string;
  readonly health: HealthState;
  readonly metrics: Metrics;
  readonly newRequestId: () => string;
  readonly log: Log;
  /** Names for this server in a request's Host, besides `host`, `localhost` and addresses. */
  readonly allowedHosts: readonly string[];
  /** Web origins whose pages may call. */
  readonly allowedOrigins: readonly string[];
  /** Served besides `/`, `/healthz` and `/metrics`. */
  readonly httpRoutes?: readonly HttpRoute[];
}

export interface CloseOptions {
  /** How long calls in flight may go on. */
  readonly drainMs: number;
}

/** Another process listens there. */
export class PortTakenError extends Error {
  override readonly name = "PortTakenError";
  readonly host: string;
  readonly port: number;

  constructor(host: string, port: number, options?: ErrorOptions) {
    super(`port ${port} on ${host} is taken; choose another, or 0 for a free one`, options);
    this.host = host;
    this.port = port;
  }
}

/**
 * Listens on one port for every protocol: the first bytes of a connection decide, or with TLS what
 * was agreed on in its handshake.
 *
 * @throws {PortTakenError} if another process listens there
 * @throws {CollectorError} ARGUMENT_INVALID if certificate and key cannot be used
 */
export async function openPort(options: PortOptions): Promise<Port> {
  const port = new Port(options);
  await port.listen();
  return port;
}

/** A port that listens. Disposing it closes it without waiting for calls. */
export class Port implements AsyncDisposable {
  readonly #options: PortOptions;
  readonly #acceptor: Acceptor;
  readonly #http1: Http1Connections;
  readonly #http2: Http2Sessions;
  readonly #routes = new HttpRouteTable();
  readonly #shutdown = new AbortController();
  #closed: Promise<void> | undefined;

  constructor(options: PortOptions) {
    const { limits, log, types, defaultNamespace } = options;
    this.#options = options;
    const codec = new JsonCodec({ types, jsonDepthMax: limits.jsonDepthMax, defaultNamespace });
    const shutdown = this.#shutdown.signal;
    const http = new HttpServer({
      guard: new OriginGuard({
        allowedHosts: [...options.allowedHosts, options.host],
        allowedOrigins: options.allowedOrigins,
      }),
      routes: this.#routes,
      rpc: new RpcEndpoint({
        routes: options.routes,
        handlers: new ConnectHandlers({ limits, codec, shutdown }),
        limits,
        budget: options.budget,
        isUnlimited: options.isUnlimited ?? (() => false),
        newRequestId: options.newRequestId,
        log,
      }),
      log,
    });
    for (const route of pages(options)) this.#routes.add(route);
    for (const route of options.httpRoutes ?? []) this.#routes.add(route);
    this.#http1 = new Http1Connections({
      limits,
      http: (request, response) => http.handle(request, response),
    });
    this.#http2 = new Http2Sessions({
      limits,
      log,
      grpc: options.grpc,
      http: (request, response) => http.handle(request, response),
      onExempt: (socket) => this.#acceptor.exempt(socket),
    });
    this.#acceptor = new Acceptor({
      tls: options.tls,
      limits,
      log,
      open: {
        http1: (socket) => this.#http1.open(socket),
        http2: (socket) => this.#http2.open(socket),
      },
    });
  }

  /** What to dial, as in `http://127.0.0.1:50051`. */
  get url(): string {
    const scheme = this.#options.tls === undefined ? "http" : "https";
    return `${scheme}://${this.address}`;
  }

  /** Host and port, as in `127.0.0.1:50051`. */
  get address(): string {
    const { host } = this.#options;
    return `${host.includes(":") ? `[${host}]` : host}:${this.port}`;
  }

  /** The port, also if a free one was asked for. */
  get port(): number {
    return this.#acceptor.port ?? this.#options.port;
  }

  addHttpRoute(route: HttpRoute): void {
    this.#routes.add(route);
  }

  async listen(): Promise<void> {
    const { host, port } = this.#options;
    try {
      await this.#acceptor.listen(host, port);
    } catch (error) {
      this.#http1.close();
      const isTaken = error instanceof Error && "code" in error && error.code === "EADDRINUSE";
      throw isTaken ? new PortTakenError(host, port, { cause: error }) : error;
    }
  }

  /**
   * Takes no more connections, lets calls in flight go on for `drainMs`, then cancels them and closes
   * what is left. Health is NOT_SERVING from the start. Closing twice is closing once.
   */
  close({ drainMs }: CloseOptions): Promise<void> {
    this.#closed ??= this.#close(drainMs);
    return this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close({ drainMs: 0 });
  }

  async #close(drainMs: number): Promise<void> {
    this.#options.health.drain();
    const closed = this.#acceptor.close();
    this.#http1.drain();
    this.#http2.drain();
    if (!(await within(closed, drainMs))) {
      const reason = new CollectorError("SHUTTING_DOWN", "the server shut down during the call");
      this.#shutdown.abort(toConnectError(reason));
      this.#options.grpc.abort();
      await within(closed, Math.min(farewellMs, drainMs));
      this.#acceptor.destroyAll();
      await closed;
    }
    this.#http1.close();
  }
}

/** Whether `event` happens within the time. */
async function within(event: Promise<void>, ms: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const timer = setTimeout(() => {
    resolve(false);
  }, ms);
  try {
    return await Promise.race([event.then(() => true), promise]);
  } finally {
    clearTimeout(timer);
  }
}
