import { connect as netConnect } from "node:net";
import type { HeaderList } from "../../grpc/server-stream.ts";
import { ClientSession } from "../client-session.ts";
import type { ClientStream, ClientStreamListener } from "../client-stream.ts";
import { preface } from "../frames.ts";
import { frameSplitter, type SeenFrame } from "./seen-frames.ts";
import { type SocketServer, socketServer } from "./socket-server.ts";

export const windowBytes: number = 1024 * 1024;

const baseHeaders: HeaderList = [
  ":method",
  "POST",
  ":scheme",
  "http",
  ":authority",
  "test",
  "te",
  "trailers",
  "content-type",
  "application/grpc",
];

/** A session with its socket; closed with what it stands in. */
export interface OpenSession extends AsyncDisposable {
  readonly session: ClientSession;
  readonly ready: Promise<void>;
  readonly closed: Promise<void>;
  readonly goAways: readonly number[];
}

export async function openSession(port: number, headerBytesMax = 16_384): Promise<OpenSession> {
  const socket = netConnect(port, "127.0.0.1");
  socket.on("error", () => undefined);
  await new Promise((resolve) => socket.once("connect", resolve));
  const ready = Promise.withResolvers<void>();
  const closed = Promise.withResolvers<void>();
  const goAways: number[] = [];
  const session = new ClientSession({
    socket,
    baseHeaders,
    headerBytesMax,
    windowBytes,
    heldBytesMax: 4 * windowBytes,
    onReady: ready.resolve,
    onGoAway: (code) => goAways.push(code),
    onClose: closed.resolve,
  });
  return {
    session,
    ready: ready.promise,
    closed: closed.promise,
    goAways,
    async [Symbol.asyncDispose]() {
      session.destroy();
      await closed.promise;
    },
  };
}

/** What came on a stream. */
export interface Recorded extends ClientStreamListener {
  readonly headers: HeaderList[];
  readonly trailers: HeaderList[];
  readonly chunks: Buffer[];
  /** In order. */
  readonly events: string[];
  readonly closed: Promise<void>;
}

export function recorder(): Recorded {
  const closed = Promise.withResolvers<void>();
  const recorded: Recorded = {
    headers: [],
    trailers: [],
    chunks: [],
    events: [],
    closed: closed.promise,
    onHeaders(list) {
      recorded.headers.push(list);
      recorded.events.push("headers");
    },
    onTrailers(list) {
      recorded.trailers.push(list);
      recorded.events.push("trailers");
    },
    onData(chunk) {
      recorded.chunks.push(Buffer.from(chunk));
      if (recorded.events.at(-1) !== "data") recorded.events.push("data");
    },
    onEnd: () => void recorded.events.push("end"),
    onDrain: () => void recorded.events.push("drain"),
    onClose() {
      recorded.events.push("close");
      closed.resolve();
    },
  };
  return recorded;
}

/** One request, to its end. */
export async function call(
  session: ClientSession,
  path: string,
  headers: HeaderList = [],
): Promise<Recorded & { readonly stream: ClientStream }> {
  const recorded = recorder();
  const stream = session.open(path, headers, recorded, new Uint8Array());
  await recorded.closed;
  return { ...recorded, stream };
}

/** A server that says what a test has it say, whatever that is. */
export interface ScriptedServer extends SocketServer {
  /** All frames that came so far. */
  readonly received: readonly SeenFrame[];
}

/** @param onFrame called for each frame; what it returns is sent */
export async function scriptedServer(
  onFrame: (type: number, streamId: number, payload: Buffer) => readonly Uint8Array[] | undefined,
  greeting: readonly Uint8Array[],
): Promise<ScriptedServer> {
  const received: SeenFrame[] = [];
  const server = await socketServer((socket) => {
    const split = frameSplitter(preface.byteLength);
    for (const bytes of greeting) socket.write(bytes);
    socket.on("data", (chunk: Buffer) => {
      for (const frame of split(chunk)) {
        received.push(frame);
        const answer = onFrame(frame.type, frame.streamId, frame.payload) ?? [];
        for (const bytes of answer) socket.write(bytes);
      }
    });
  });
  return { ...server, received };
}
