import { connect, type Socket } from "node:net";
import { waitUntil } from "../../../../test/support/wait.ts";
import type { HeaderList, IncomingHeaders } from "../../grpc/server-stream.ts";
import { BlockWriter, blockBytesOf, literal } from "../block-writer.ts";
import { frameFlag, frameOf, frameType, numberFrame, preface, settingsFrame } from "../frames.ts";
import { HeaderDecoder } from "../header-decoder.ts";
import type { RequestStream } from "../request-stream.ts";
import { ServerSession, type ServerSessionOptions } from "../server-session.ts";
import { frameSplitter, type SeenFrame } from "./seen-frames.ts";
import { type SocketServer, socketServer } from "./socket-server.ts";

export type Handler = (
  stream: RequestStream,
  headers: IncomingHeaders,
  rawHeaders: HeaderList,
) => void;

export interface SessionServer extends SocketServer {
  /** Those that are open, in the order in which they came. */
  readonly sessions: readonly ServerSession[];
}

export async function sessionServer(
  onRequest: Handler,
  options: Partial<ServerSessionOptions> = {},
): Promise<SessionServer> {
  const sessions: ServerSession[] = [];
  const server = await socketServer((socket) => {
    const session = new ServerSession({
      socket,
      headerBytesMax: 16_384,
      windowBytes: 1024 * 1024,
      streamsMax: 100,
      onRequest,
      onExempt: () => undefined,
      onClose: () => void sessions.splice(sessions.indexOf(session), 1),
      ...options,
    });
    sessions.push(session);
  });
  return { ...server, sessions };
}

/** A client that says what a test has it say, whatever that is. */
export interface ScriptedClient extends Disposable {
  readonly socket: Socket;
  readonly frames: readonly SeenFrame[];
  readonly isClosed: boolean;
  send(...frames: readonly Uint8Array[]): void;
  /** The first frame of a type, on a stream if one is named. */
  expect(type: number, streamId?: number): Promise<SeenFrame>;
  /** Until the server has ended the connection. @returns the code of its last GOAWAY, if there was one */
  closed(): Promise<number | undefined>;
  /** The headers of a stream's first block of headers. */
  headersOf(streamId: number): Promise<HeaderList>;
  /** Whether the server still does what it is asked. */
  isServed(): Promise<boolean>;
}

/** @param greeting what it begins with; a proper beginning if absent */
export async function scriptedClient(
  port: number,
  greeting: readonly Uint8Array[] = [preface, settingsFrame([])],
): Promise<ScriptedClient> {
  const socket = connect({ port, host: "127.0.0.1", noDelay: true });
  const frames: SeenFrame[] = [];
  const decoder = new HeaderDecoder(1024 * 1024);
  const headers = new Map<number, HeaderList>();
  const split = frameSplitter(0);
  let pings = 0;
  socket.on("error", () => undefined);
  socket.on("data", (chunk: Buffer) => {
    for (const frame of split(chunk)) {
      frames.push(frame);
      if (frame.type !== frameType.headers) continue;
      const { list } = decoder.decode(frame.payload);
      if (!headers.has(frame.streamId)) headers.set(frame.streamId, list);
    }
  });
  await new Promise((resolve) => socket.once("connect", resolve));
  const ended = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  for (const bytes of greeting) socket.write(bytes);
  const client: ScriptedClient = {
    socket,
    frames,
    get isClosed() {
      return socket.destroyed || socket.readableEnded;
    },
    send(...sent) {
      socket.write(Buffer.concat(sent));
    },
    async expect(type, streamId) {
      const find = (): SeenFrame | undefined =>
        frames.find(
          (frame) => frame.type === type && (streamId === undefined || frame.streamId === streamId),
        );
      await waitUntil(`a frame of type ${type}`, 5000, () => find() !== undefined);
      const found = find();
      if (found === undefined) throw new Error("it was there");
      return found;
    },
    async closed() {
      await ended;
      return frames.findLast(({ type }) => type === frameType.goAway)?.payload.readUInt32BE(4);
    },
    async headersOf(streamId) {
      await waitUntil(`headers of stream ${streamId}`, 5000, () => headers.has(streamId));
      return headers.get(streamId) ?? [];
    },
    async isServed() {
      pings += 1;
      const payload = Buffer.alloc(8, pings);
      client.send(frameOf(frameType.ping, 0, 0, payload));
      const hasAnswer = (): boolean =>
        frames.some((frame) => frame.type === frameType.ping && frame.payload.equals(payload));
      await waitUntil("an answer, or the end", 5000, () => hasAnswer() || client.isClosed);
      return hasAnswer();
    },
    [Symbol.dispose]() {
      socket.destroy();
    },
  };
  return client;
}

export const requestHeaders: HeaderList = [
  ":method",
  "POST",
  ":scheme",
  "http",
  ":path",
  "/a/B",
  ":authority",
  "test",
];

/** A header block in which nothing is packed or kept. */
export function blockOf(list: HeaderList): Buffer {
  const out = new BlockWriter(blockBytesOf(list));
  for (let i = 0; i + 1 < list.length; i += 2) {
    out.header(literal.plain, list[i] ?? "", list[i + 1] ?? "");
  }
  return out.done();
}

/** A request, or what is to look like one. */
export function headersFrame(
  streamId: number,
  list: HeaderList = requestHeaders,
  flags: number = frameFlag.endHeaders,
): Buffer {
  return frameOf(frameType.headers, flags, streamId, blockOf(list));
}

export function dataFrame(streamId: number, bytes: Uint8Array, flags = 0): Buffer {
  return frameOf(frameType.data, flags, streamId, bytes);
}

export function resetFrame(streamId: number): Buffer {
  return numberFrame(frameType.reset, streamId, 8);
}
