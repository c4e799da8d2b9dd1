import type { IncomingHttpHeaders } from "node:http";
import type { Socket } from "node:net";
import { Readable } from "node:stream";
import type { HeaderList, IncomingHeaders, ServerStream } from "../grpc/server-stream.ts";

export interface StreamRequestOptions {
  readonly socket: Socket;
  readonly stream: ServerStream;
  readonly headers: IncomingHeaders;
  readonly rawHeaders: HeaderList;
}

/** A request of HTTP/2, in the form of Node's for HTTP/1.1. Its body is read at the pace of its reader. */
export class StreamRequest extends Readable {
  readonly httpVersion = "2.0";
  readonly httpVersionMajor = 2;
  readonly socket: Socket;
  readonly method: string;
  readonly url: string;
  /** What the request says that the server is called. */
  readonly authority: string | undefined;
  /** With the pseudo-headers. */
  readonly headers: IncomingHttpHeaders;
  readonly rawHeaders: string[];
  /** Whether all of its body has come. */
  complete = false;
  readonly #stream: ServerStream;

  constructor({ socket, stream, headers, rawHeaders }: StreamRequestOptions) {
    super();
    this.#stream = stream;
    this.socket = socket;
    this.headers = { ...headers } as IncomingHttpHeaders;
    this.rawHeaders = [...rawHeaders];
    this.method = textOf(headers, ":method") ?? "";
    this.url = textOf(headers, ":path") ?? "/";
    this.authority = textOf(headers, ":authority");
  }

  /** Bytes of the body. */
  receive(chunk: Uint8Array): void {
    if (!this.push(chunk)) this.#stream.pause();
  }

  receiveEnd(): void {
    this.complete = true;
    this.push(null);
  }

  /** The stream is gone. */
  lose(): void {
    this.destroy();
  }

  override _read(): void {
    this.#stream.resume();
  }
}

function textOf(headers: IncomingHeaders, name: string): string | undefined {
  const value = headers[name];
  return typeof value === "string" ? value : value?.[0];
}
