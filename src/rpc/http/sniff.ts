import type { Socket } from "node:net";

export type Protocol = "http1" | "http2";

/** How every HTTP/2 connection begins; no request of HTTP/1.1 does. */
const http2Start = Buffer.from("PRI ");

/**
 * Waits for the first bytes of a connection and tells the protocol by them; they stay unread.
 *
 * The socket is left paused in between: with `data` and `pause` instead of `readable`, what is put
 * back would not reach an HTTP/1.1 parser.
 */
export function sniffProtocol(socket: Socket, decided: (protocol: Protocol) => void): void {
  const chunks: Buffer[] = [];
  const onReadable = (): void => {
    for (let chunk = read(socket); chunk !== null; chunk = read(socket)) chunks.push(chunk);
    const bytes = Buffer.concat(chunks);
    const start = bytes.subarray(0, http2Start.length);
    const mayBeHttp2 = start.equals(http2Start.subarray(0, start.length));
    if (mayBeHttp2 && start.length < http2Start.length) return;
    socket.off("readable", onReadable);
    socket.off("end", onEnd);
    socket.unshift(bytes);
    decided(mayBeHttp2 ? "http2" : "http1");
  };
  const onEnd = (): void => {
    socket.destroy();
  };
  socket.on("readable", onReadable);
  socket.on("end", onEnd);
}

function read(socket: Socket): Buffer | null {
  return socket.read() as Buffer | null;
}
