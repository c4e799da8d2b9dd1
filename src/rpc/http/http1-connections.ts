import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Limits } from "../../lib/limits.ts";

/** How often connections are looked at whose headers do not come, in milliseconds. */
const checkIntervalMs = 5000;

export interface Http1ConnectionsOptions {
  readonly limits: Limits;
  readonly http: (request: IncomingMessage, response: ServerResponse) => void;
}

/** The HTTP/1.1 connections of a port. */
export class Http1Connections {
  readonly #server: Server;
  readonly #responses = new Set<ServerResponse>();
  #draining = false;

  constructor({ limits, http }: Http1ConnectionsOptions) {
    this.#server = createServer(
      {
        maxHeaderSize: limits.headerBytesMax,
        headersTimeout: limits.streamIdleMs,
        // Bodies have limits of their own, which know whether the caller owes bytes.
        requestTimeout: 0,
        keepAliveTimeout: limits.streamIdleMs,
        connectionsCheckingInterval: Math.min(checkIntervalMs, limits.streamIdleMs),
      },
      (request, response) => {
        this.#track(response);
        http(request, response);
      },
    );
    // This server never listens: it gets its sockets from the port. The event starts its timeouts.
    this.#server.emit("listening");
  }

  /** Speaks HTTP/1.1 on a socket whose first bytes are still unread. */
  open(socket: Socket): void {
    this.#server.emit("connection", socket);
  }

  /** Closes idle connections now and each other one after its answer. */
  drain(): void {
    this.#draining = true;
    for (const response of this.#responses) response.shouldKeepAlive = false;
    this.#server.closeIdleConnections();
  }

  /** Stops the timers; connections are the port's to close. */
  close(): void {
    // "Not running" is what it says of a server that never listened.
    this.#server.close(() => undefined);
  }

  #track(response: ServerResponse): void {
    if (this.#draining) response.shouldKeepAlive = false;
    this.#responses.add(response);
    const { socket } = response;
    response.once("close", () => {
      this.#responses.delete(response);
      // An answer that had begun before the drain has promised to keep the connection.
      if (this.#draining) socket?.destroySoon();
    });
  }
}
