import {
  constants,
  Http2ServerRequest,
  Http2ServerResponse,
  type IncomingHttpHeaders,
  performServerHandshake,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import type { Socket } from "node:net";
import type { Limits } from "../../lib/limits.ts";
import type { Log } from "../../lib/log.ts";
import { type GrpcHandler, isGrpcContentType } from "../grpc/grpc-handler.ts";

/** The window of a stream and of a connection: what may be on its way to us, in bytes. */
const windowBytes = 8 * 1024 * 1024;

/** What one session may hold, in MiB; past it new streams are refused. */
const sessionMemoryMib = 64;

/** How long a client may take to see that it is asked to leave. */
const noticeMs = 1000;

/** The last stream id there can be: "everything you have sent is taken". */
const lastStreamId = 2 ** 31 - 1;

/** Serves gRPC on streams of HTTP/2: the part of a GrpcHandler that a port needs. */
export type GrpcStreams = Pick<GrpcHandler, "handle" | "abort">;

export interface Http2SessionsOptions {
  readonly limits: Limits;
  readonly grpc: GrpcStreams;
  readonly http: (request: Http2ServerRequest, response: Http2ServerResponse) => void;
  readonly log: Log;
  /** The connection is between linked collectors. */
  readonly onExempt: (socket: Socket) => void;
}

/** The HTTP/2 connections of a port. */
export class Http2Sessions {
  readonly #options: Http2SessionsOptions;
  readonly #sessions = new Set<ServerHttp2Session>();
  #draining = false;

  constructor(options: Http2SessionsOptions) {
    this.#options = options;
  }

  /** Speaks HTTP/2 on a socket whose first bytes are still unread. */
  open(socket: Socket): void {
    const { limits, log, onExempt } = this.#options;
    const session = performServerHandshake(socket, {
      maxSessionMemory: sessionMemoryMib,
      settings: {
        maxConcurrentStreams: limits.streamsPerConnectionMax,
        initialWindowSize: windowBytes,
        maxHeaderListSize: limits.headerBytesMax,
      },
    });
    session.setLocalWindowSize(windowBytes);
    let isExempt = false;
    const exempt = (): void => {
      if (isExempt || session.destroyed) return;
      isExempt = true;
      session.settings({
        maxConcurrentStreams: limits.linkCallsMax + limits.streamsPerConnectionMax,
      });
      onExempt(socket);
    };
    session.on("stream", (stream, headers, _flags, rawHeaders: string[]) => {
      // The engine holds a client to the settings once it says that it has read them, if it ever does.
      if (session.pendingSettingsAck && listBytes(rawHeaders) > limits.headerBytesMax) {
        stream.on("error", (error) => {
          log.debug({ err: error }, "a request with too long a header list was refused");
        });
        stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM);
        return;
      }
      this.#route(stream, headers, rawHeaders, exempt);
    });
    session.on("error", (error) => {
      log.debug({ err: error }, "an HTTP/2 connection failed");
    });
    session.on("close", () => this.#sessions.delete(session));
    this.#sessions.add(session);
    if (this.#draining) askToLeave(session);
  }

  /** Asks every client to leave once its calls are done. */
  drain(): void {
    this.#draining = true;
    for (const session of this.#sessions) askToLeave(session);
  }

  #route(
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
    rawHeaders: string[],
    exempt: () => void,
  ): void {
    // Neither Host nor Origin is asked of gRPC: no page can make a browser send it over HTTP/2 in
    // cleartext, and with TLS a rebound name fails at the certificate; and clients behind a proxy, or
    // in a container, know us by names that we do not.
    // Other forms of messages, such as application/grpc+json, go by connect-node.
    if (isGrpcContentType(headers["content-type"] ?? "")) {
      this.#options.grpc.handle(stream, headers, rawHeaders, exempt);
      return;
    }
    const request = new Http2ServerRequest(stream, headers, {}, rawHeaders);
    this.#options.http(request, new Http2ServerResponse(stream));
  }
}

/** Size of a header list as HTTP/2 counts it. */
function listBytes(rawHeaders: readonly string[]): number {
  const bytesPerPair = 32;
  return rawHeaders.reduce(
    (sum, text) => sum + text.length,
    (rawHeaders.length / 2) * bytesPerPair,
  );
}

/**
 * GOAWAY in two steps, so that no call is lost: first "send no more", then, when a ping says that the
 * client has read it, the id of the last stream that is served.
 */
function askToLeave(session: ServerHttp2Session): void {
  if (session.destroyed || session.closed) return;
  const close = (): void => {
    clearTimeout(timer);
    if (!session.destroyed) session.close();
  };
  const timer = setTimeout(close, noticeMs);
  session.once("close", () => {
    clearTimeout(timer);
  });
  session.goaway(constants.NGHTTP2_NO_ERROR, lastStreamId);
  session.ping(close);
}
