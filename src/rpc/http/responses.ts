import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import type { Writable } from "node:stream";
import type { UniversalServerResponse } from "@connectrpc/connect/protocol";
import type { StreamRequest } from "./stream-request.ts";

export type HttpRequest = IncomingMessage | StreamRequest;

/** What Node's answers over HTTP/1.1 and ours over HTTP/2 have in common. */
export interface HttpResponse extends Writable {
  readonly headersSent: boolean;
  setHeader(name: string, value: string): unknown;
  writeHead(status: number, headers: Readonly<Record<string, string>>): unknown;
  /** Headers that follow the body. */
  addTrailers(trailers: Readonly<Record<string, string>>): unknown;
}

/** How long the rest of a body is read and thrown away, so that its sender sees the answer. */
const lingerMs = 2000;

/** What is written at once of a long answer. */
const writeBytesMax = 64 * 1024;

/** Answers with a short text, or JSON if `body` is an object. */
export function respond(
  request: HttpRequest,
  response: HttpResponse,
  status: number,
  body: string | object,
  headers: Readonly<Record<string, string>> = {},
): void {
  const isText = typeof body === "string";
  const bytes = Buffer.from(isText ? body : `${JSON.stringify(body)}\n`);
  const about = {
    "content-type": isText ? "text/plain; charset=utf-8" : "application/json",
    "content-length": String(bytes.length),
    "x-content-type-options": "nosniff",
  };
  response.writeHead(status, status === 204 ? headers : { ...about, ...headers });
  response.end(request.method === "HEAD" ? undefined : bytes);
  discardBody(request);
}

/**
 * Writes what connect-node answers, at the pace at which it is read.
 *
 * @param idleMs how long a reader may take none of it; then the stream is closed
 */
export async function sendUniversal(
  answer: UniversalServerResponse,
  request: HttpRequest,
  response: HttpResponse,
  idleMs: number,
): Promise<void> {
  const chunks = answer.body?.[Symbol.asyncIterator]();
  try {
    // The first chunk before the headers: until then the handler may still set some.
    let chunk = await chunks?.next();
    response.writeHead(answer.status, toNodeHeaders(answer.header));
    while (chunk !== undefined && chunk.done !== true) {
      if (!response.write(chunk.value)) await drained(response, idleMs);
      chunk = await chunks?.next();
    }
    if (answer.trailer !== undefined) {
      response.addTrailers(toNodeHeaders(answer.trailer));
    }
    response.end();
    discardBody(request);
  } finally {
    await chunks?.return?.();
  }
}

/**
 * Answers with bytes as they come, at the pace at which they are read.
 *
 * @param headers must say how many bytes follow
 * @param idleMs how long a reader may take none of it; then the connection, or its stream, is closed
 * @throws what `chunks` throws, and if the caller hangs up
 */
export async function respondWith(
  request: HttpRequest,
  response: HttpResponse,
  status: number,
  headers: Readonly<Record<string, string>>,
  chunks: AsyncIterable<Uint8Array>,
  idleMs: number,
): Promise<void> {
  response.writeHead(status, headers);
  for await (const chunk of chunks) {
    // In parts, so that a slow reader is seen to read.
    for (let from = 0; from < chunk.byteLength; from += writeBytesMax) {
      const part = chunk.subarray(from, from + writeBytesMax);
      if (!response.write(part)) await drained(response, idleMs);
    }
  }
  response.end();
  discardBody(request);
}

/** Answers without a body. */
export function respondEmpty(
  request: HttpRequest,
  response: HttpResponse,
  status: number,
  headers: Readonly<Record<string, string>>,
): void {
  response.writeHead(status, headers);
  response.end();
  discardBody(request);
}

/** Throws away what the caller still sends after its answer, for a while; then cuts it off. */
function discardBody(request: HttpRequest): void {
  // Over HTTP/2, a complete answer asks for no more by itself.
  if (request.complete || request.httpVersionMajor === 2) return;
  const socket = request.socket;
  request.resume();
  const timer = setTimeout(() => {
    socket.destroy();
  }, lingerMs);
  request.once("close", () => {
    clearTimeout(timer);
  });
}

async function drained(response: HttpResponse, idleMs: number): Promise<void> {
  if (response.destroyed) throw new Error("the caller hung up");
  const stop = new AbortController();
  const timer = setTimeout(() => {
    stop.abort();
  }, idleMs);
  try {
    await Promise.race([
      once(response, "drain", { signal: stop.signal }),
      once(response, "close", { signal: stop.signal }).then(() => {
        throw new Error("the caller hung up");
      }),
    ]);
  } catch (error) {
    if (stop.signal.aborted) response.destroy();
    throw error;
  } finally {
    clearTimeout(timer);
    stop.abort();
  }
}

function toNodeHeaders(headers: Headers | undefined): Record<string, string> {
  return Object.fromEntries(headers ?? []);
}
