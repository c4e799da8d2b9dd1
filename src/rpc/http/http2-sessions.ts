import type { Socket } from "node:net";
import type { Limits } from "../../lib/limits.ts";
import type { Log } from "../../lib/log.ts";
import { type GrpcHandler, isGrpcContentType } from "../grpc/grpc-handler.ts";
import type { HeaderList, IncomingHeaders } from "../grpc/server-stream.ts";
import type { RequestStream } from "../http2/request-stream.ts";
import { ServerSession } from "../http2/server-session.ts";
import { StreamRequest } from "./stream-request.ts";
import { StreamResponse } from "./stream-response.ts";

/** The window of a stream and of a connection: what may be on its way to us, in bytes. */
const windowBytes = 8 * 1024 * 1024;

/** How often in the time that a client may be idle it is looked at whether it is. */
const checksPerIdle = 4;

/** Serves gRPC on streams of HTTP/2: the part of a GrpcHandler that a port needs. */
export type GrpcStreams = Pick<GrpcHandler, "accept" | "abort">;

export interface Http2SessionsOptions {
  readonly limits: Limits;
  readonly grpc: GrpcStreams;
  readonly http: (request: StreamRequest, response: StreamResponse) => void;
  readonly log: Pick<Log, "debug">;
  /** The connection is between linked collectors. */
  readonly onExempt: (socket: Socket) => void;
}

/** The HTTP/2 connections of a port. */
export class Http2Sessions {
  readonly #options: Http2SessionsOptions;
  readonly #sessions = new Set<ServerSession>();
  #checks: NodeJS.Timeout | undefined;
  #draining = false;

  constructor(options: Http2SessionsOptions) {
    this.#options = options;
  }

  /** Speaks HTTP/2 on a socket whose first bytes are still unread. */
  open(socket: Socket): void {
    const { limits, log, onExempt } = this.#options;
    const { streamsPerConnectionMax, linkCallsMax, headerBytesMax } = limits;
    let isExempt = false;
    const session = new ServerSession({
      socket,
      headerBytesMax,
      windowBytes,
      streamsMax: streamsPerConnectionMax,
      onRequest: (stream, headers, rawHeaders) => this.#route(socket, stream, headers, rawHeaders),
      onExempt: () => {
        if (isExempt) return;
        isExempt = true;
        session.allowStreams(linkCallsMax + streamsPerConnectionMax);
        onExempt(socket);
      },
      onFault: (error) =>
        log.debug({ err: error, peer: session.peer }, "an HTTP/2 connection failed"),
      onClose: () => {
        this.#sessions.delete(session);
        if (this.#sessions.size === 0) this.#stopChecks();
      },
    });
    this.#sessions.add(session);
    this.#checks ??= setInterval(() => this.#check(), limits.streamIdleMs / checksPerIdle).unref();
    if (this.#draining) session.askToLeave();
  }

  /** Asks every client to leave once its calls are done. */
  drain(): void {
    this.#draining = true;
    for (const session of this.#sessions) session.askToLeave();
  }

  #route(
    socket: Socket,
    stream: RequestStream,
    headers: IncomingHeaders,
    rawHeaders: HeaderList,
  ): void {
    const { grpc, http } = this.#options;
    // Neither Host nor Origin is asked of gRPC: no page can make a browser send it over HTTP/2 in
    // cleartext, and with TLS a rebound name fails at the certificate; and clients behind a proxy, or
    // in a container, know us by names that we do not.
    // Other forms of messages, such as application/grpc+json, go by connect-node.
    const contentType = headers["content-type"];
    if (typeof contentType === "string" && isGrpcContentType(contentType)) {
      grpc.accept(stream, headers, rawHeaders);
      return;
    }
    // Each listens to the part of the stream that is its own.
    const request = new StreamRequest({ socket, stream, headers, rawHeaders });
    const response = new StreamResponse(stream);
    stream.listen({
      onData: (chunk) => request.receive(chunk),
      onEnd: () => request.receiveEnd(),
      onDrain: () => response.drain(),
      onClose: () => {
        request.lose();
        response.lose();
      },
    });
    http(request, response);
  }

  #check(): void {
    for (const session of this.#sessions) session.check(checksPerIdle);
  }

  #stopChecks(): void {
    clearInterval(this.#checks);
    this.#checks = undefined;
  }
}
