import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { createServer as createTlsServer, type TLSSocket } from "node:tls";
import { CollectorError } from "../../errors.ts";
import type { Limits } from "../../lib/limits.ts";
import type { Log } from "../../lib/log.ts";
import { ConnectionLimits } from "./connection-limits.ts";
import { type Protocol, sniffProtocol } from "./sniff.ts";

/** Certificate chain and key, both in PEM. */
export interface TlsFiles {
  readonly cert: string;
  readonly key: string;
}

export interface AcceptorOptions {
  readonly tls: TlsFiles | undefined;
  readonly limits: Limits;
  readonly log: Log;
  /** Takes over a connection whose first bytes are still unread. */
  readonly open: Readonly<Record<Protocol, (socket: Socket) => void>>;
}

/** How long a connection may say nothing when the port closes: its request may be on the way. */
const lateMs = 250;

/** A connection whose protocol is not known yet, and what ends the wait for it. */
interface Undecided {
  readonly socket: Socket;
  readonly timer: NodeJS.Timeout;
}

/** Listens, counts connections, and finds out what each of them speaks. */
export class Acceptor {
  readonly #options: AcceptorOptions;
  readonly #server: Server;
  readonly #connections: ConnectionLimits;
  readonly #undecided = new Map<string, Undecided>();

  /** @throws {CollectorError} ARGUMENT_INVALID if certificate and key cannot be used */
  constructor(options: AcceptorOptions) {
    this.#options = options;
    this.#connections = new ConnectionLimits(options.limits);
    this.#server = this.#createServer();
  }

  /** The port, while there is one. */
  get port(): number | undefined {
    return (this.#server.address() as AddressInfo | null)?.port;
  }

  listen(host: string, port: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen({ host, port }, () => {
        this.#server.off("error", reject);
        // Such as EMFILE while accepting: that connection is lost, the port is not.
        this.#server.on("error", (error) => {
          this.#options.log.error({ err: error }, "the port failed to accept a connection");
        });
        resolve();
      });
    });
  }

  /**
   * Takes no more connections and soon drops those that say nothing; resolves when all are gone.
   */
  close(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        for (const { socket } of this.#undecided.values()) socket.destroy();
      }, lateMs);
      this.#server.close(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  /** The connection is between linked collectors, and does not count. */
  exempt(socket: Socket): void {
    const peer = peerOf(socket);
    // With TLS it is the socket beneath that is counted.
    for (const counted of this.#connections.sockets) {
      if (peerOf(counted) === peer) this.#connections.exempt(counted);
    }
  }

  destroyAll(): void {
    for (const socket of this.#connections.sockets) socket.destroy();
  }

  #createServer(): Server {
    const { tls, log } = this.#options;
    const socketOptions = { allowHalfOpen: true, noDelay: true, keepAlive: true };
    const server = tls === undefined ? createServer(socketOptions) : secure(tls, socketOptions);
    if (tls !== undefined) {
      server.on("secureConnection", (socket: TLSSocket) => {
        this.#onSecure(socket);
      });
      server.on("tlsClientError", (error: Error, socket: TLSSocket) => {
        log.debug({ err: error }, "a TLS handshake failed");
        socket.destroy();
      });
    }
    server.on("connection", (socket: Socket) => {
      this.#onConnection(socket);
    });
    return server;
  }

  #onConnection(socket: Socket): void {
    const { log, limits, tls } = this.#options;
    socket.on("error", (error) => {
      log.debug({ err: error }, "a connection failed");
    });
    const peer = peerOf(socket);
    const refusal = this.#connections.admit(socket);
    if (refusal !== undefined) {
      log.warn({ peer }, `connection refused: ${refusal}`);
      socket.destroy();
      return;
    }
    const timer = setTimeout(() => {
      socket.destroy();
    }, limits.streamIdleMs);
    const undecided = { socket, timer };
    this.#undecided.set(peer, undecided);
    socket.once("close", () => {
      clearTimeout(timer);
      if (this.#undecided.get(peer) === undecided) this.#undecided.delete(peer);
    });
    if (tls === undefined) this.#sniff(socket);
  }

  #onSecure(socket: TLSSocket): void {
    socket.on("error", (error) => {
      this.#options.log.debug({ err: error }, "a TLS connection failed");
    });
    if (socket.alpnProtocol === "h2") this.#open(socket, "http2");
    else if (socket.alpnProtocol === "http/1.1") this.#open(socket, "http1");
    else this.#sniff(socket);
  }

  #sniff(socket: Socket): void {
    sniffProtocol(socket, (protocol) => {
      this.#open(socket, protocol);
    });
  }

  #open(socket: Socket, protocol: Protocol): void {
    // The peer is the same for a TLS socket and the one beneath it.
    const peer = peerOf(socket);
    clearTimeout(this.#undecided.get(peer)?.timer);
    this.#undecided.delete(peer);
    // HTTP/2 has its own way to say that one side is done.
    if (protocol === "http2") socket.allowHalfOpen = false;
    this.#options.open[protocol](socket);
  }
}

function secure(tls: TlsFiles, socketOptions: object): Server {
  try {
    return createTlsServer({ ...tls, ...socketOptions, ALPNProtocols: ["h2", "http/1.1"] });
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    const text = `tls: certificate and key cannot be used: ${reason}`;
    throw new CollectorError("ARGUMENT_INVALID", text, { cause });
  }
}

/** Tells open connections apart. */
function peerOf(socket: Socket): string {
  return `${socket.remoteAddress ?? "unknown"} ${socket.remotePort ?? 0}`;
}
