import http2, { type ServerHttp2Session, type ServerHttp2Stream } from "node:http2";
import type { AddressInfo } from "node:net";
import { defaultLimits, type Limits } from "../../src/lib/limits.ts";
import { PeerDialer } from "../../src/rpc/outbound/dialer.ts";

/** A dialer that may dial this machine. */
export function openDialer(limits: Partial<Limits> = {}): PeerDialer {
  const all = { ...defaultLimits, ...limits };
  return new PeerDialer({ peers: [], allowsLoopback: true, limits: all });
}

export interface RawServer extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  /** Every session so far, closed ones too. */
  readonly sessions: readonly ServerHttp2Session[];
}

/** An HTTP/2 server that answers streams as the test says. */
export async function openRawServer(
  onStream: (stream: ServerHttp2Stream, path: string, rawHeaders: readonly string[]) => void,
  settings: http2.Settings = {},
  listenOn = 0,
): Promise<RawServer> {
  const server = http2.createServer({ settings });
  const sessions: ServerHttp2Session[] = [];
  server.on("session", (session) => {
    sessions.push(session);
    session.on("error", () => undefined);
  });
  server.on("stream", (stream, headers, _flags, rawHeaders) => {
    stream.on("error", () => undefined);
    onStream(stream, String(headers[":path"]), rawHeaders);
  });
  await new Promise<void>((resolve) => server.listen(listenOn, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    sessions,
    async [Symbol.asyncDispose]() {
      for (const session of sessions) session.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

export async function* each<T>(items: Iterable<T>): AsyncIterable<T> {
  yield* items;
}

/** All messages of an answer. */
export async function collect(messages: AsyncIterable<Uint8Array>): Promise<Uint8Array[]> {
  const result: Uint8Array[] = [];
  for await (const message of messages) result.push(message);
  return result;
}
