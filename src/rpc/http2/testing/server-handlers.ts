import { once } from "node:events";
import type { ClientHttp2Session, IncomingHttpHeaders } from "node:http2";
import type { StreamListener } from "../../grpc/server-stream.ts";
import type { Handler } from "./server-fixture.ts";

/** Takes a request and never answers. */
export const silent: Handler = (stream) => stream.listen(listener({}));

/** Answers when the request is whole, with all that came of it. */
export const echo: Handler = (stream) => {
  const chunks: Buffer[] = [];
  stream.listen(
    listener({
      onData: (chunk) => chunks.push(Buffer.from(chunk)),
      onEnd: () => {
        const body = Buffer.concat(chunks);
        stream.respondWith([":status", "200"], body, ["x-bytes", String(body.byteLength)]);
      },
    }),
  );
};

export function listener(parts: Partial<StreamListener>): StreamListener {
  const ignore = (): void => undefined;
  return { onData: ignore, onEnd: ignore, onDrain: ignore, onClose: ignore, ...parts };
}

/** What Node's client gets. */
export interface Answer {
  readonly headers: IncomingHttpHeaders;
  readonly trailers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** One request by Node's client, to the end of its answer. */
export async function request(
  client: ClientHttp2Session,
  headers: Readonly<Record<string, string>>,
  body: Uint8Array = new Uint8Array(),
): Promise<Answer> {
  const stream = client.request({ ":method": "POST", ":path": "/a/B", ...headers });
  let trailers: IncomingHttpHeaders = {};
  stream.on("trailers", (list: IncomingHttpHeaders) => {
    trailers = list;
  });
  const chunks: Buffer[] = [];
  stream.on("data", (chunk: Buffer) => chunks.push(chunk));
  const ended = once(stream, "end");
  const responded = once(stream, "response");
  stream.end(body);
  const [answer] = (await responded) as [IncomingHttpHeaders];
  await ended;
  return { headers: answer, trailers, body: Buffer.concat(chunks) };
}
