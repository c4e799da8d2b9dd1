import http2, { type ClientHttp2Session, type ClientHttp2Stream } from "node:http2";

/** A gRPC call whose bytes the test writes itself. */
export interface RawCall {
  readonly stream: ClientHttp2Stream;
  readonly answer: Promise<RawAnswer>;
}

export interface RawAnswer {
  /** `:status`; undefined if the stream ended without headers. */
  readonly httpStatus: number | undefined;
  /** `grpc-status`; undefined if the stream ended without one, as after a reset. */
  readonly status: number | undefined;
  readonly message: string;
  /** All of the body, frames included. */
  readonly body: Buffer;
}

/** A connection for raw calls; closed, with what goes on in it, when it goes out of scope. */
export interface RawConnection extends Disposable {
  readonly session: ClientHttp2Session;
}

export function connectRaw(url: string): RawConnection {
  const session = http2.connect(url);
  // Calls on a connection that breaks end without a status: that says enough.
  session.on("error", () => undefined);
  return { session, [Symbol.dispose]: () => session.destroy() };
}

/** Begins a call; its request is as long as the caller writes to the stream. */
export function beginCall(
  session: ClientHttp2Session,
  path: string,
  headers: Readonly<Record<string, string>> = {},
): RawCall {
  const stream = session.request({
    ":method": "POST",
    ":path": path,
    "content-type": "application/grpc",
    te: "trailers",
    ...headers,
  });
  const chunks: Buffer[] = [];
  let httpStatus: number | undefined;
  let status: number | undefined;
  let message = "";
  const note = (fields: http2.IncomingHttpHeaders) => {
    const value = fields["grpc-status"];
    if (value !== undefined) status = Number(value);
    message = String(fields["grpc-message"] ?? message);
  };
  stream.on("response", (fields) => {
    httpStatus = fields[":status"];
    note(fields);
  });
  stream.on("trailers", note);
  stream.on("data", (chunk: Buffer) => chunks.push(chunk));
  stream.on("error", () => undefined);
  const answer = new Promise<RawAnswer>((resolve) => {
    stream.once("close", () => {
      resolve({ httpStatus, status, message: decodeURI(message), body: Buffer.concat(chunks) });
    });
  });
  return { stream, answer };
}

/** Sends `body` as the whole request and waits for the answer. */
export async function callRaw(
  session: ClientHttp2Session,
  path: string,
  body: Uint8Array,
  headers: Readonly<Record<string, string>> = {},
): Promise<RawAnswer> {
  const { stream, answer } = beginCall(session, path, headers);
  stream.end(body);
  return await answer;
}

/**
 * Begins a call whose answer is a stream, and counts what comes without keeping it.
 *
 * @returns when the first of it is there.
 */
export function beginWatch(
  session: ClientHttp2Session,
  path: string,
  body: Uint8Array,
  onBytes: (bytes: number) => void,
): Promise<void> {
  const stream = session.request({
    ":method": "POST",
    ":path": path,
    "content-type": "application/grpc",
    te: "trailers",
  });
  stream.end(body);
  return new Promise((resolve, reject) => {
    stream.on("data", (chunk: Buffer) => {
      onBytes(chunk.length);
      resolve();
    });
    stream.on("error", reject);
    stream.once("close", () => reject(new Error("the stream ended without a message")));
  });
}

/** A message as gRPC frames it, not compressed. */
export function frame(message: Uint8Array): Buffer {
  const framed = Buffer.alloc(5 + message.length);
  framed.writeUInt32BE(message.length, 1);
  framed.set(message, 5);
  return framed;
}
