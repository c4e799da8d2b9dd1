import http2, { type ServerHttp2Stream } from "node:http2";

/**
 * Both ends of long streams, on bare `node:http2`: a path that ends with `List` is answered with so
 * many messages, any other is read to its end and answered with one.
 *
 * Arguments: how many messages, and how many bytes each has.
 */
const messages = Number(process.argv[2] ?? 0);
const messageBytes = Number(process.argv[3] ?? 0);
const windowBytes = 8 * 1024 * 1024;

const prefixBytes = 5;
/** A frame of gRPC that holds one field of bytes. */
const frame = Buffer.alloc(prefixBytes + messageBytes, 0x61);
frame[0] = 0;
frame.writeUInt32BE(messageBytes, 1);
const fieldBytes = messageBytes - 4;
frame.set([0x0a, (fieldBytes & 127) | 128, ((fieldBytes >> 7) & 127) | 128, fieldBytes >> 14], 5);
const empty = Buffer.alloc(prefixBytes);

const server = http2.createServer({ settings: { initialWindowSize: windowBytes } });
server.on("session", (session) => {
  session.setLocalWindowSize(windowBytes);
  session.on("error", () => undefined);
});
server.on("stream", (stream, headers) => {
  stream.on("error", () => undefined);
  const path = headers[":path"] ?? "";
  if (path.startsWith("/grpc.health.")) {
    const refusal = { ":status": 200, "content-type": "application/grpc", "grpc-status": "12" };
    stream.respond(refusal, { endStream: true });
    return;
  }
  stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
  stream.on("data", () => undefined);
  stream.on("end", () => {
    stream.respond(
      { ":status": 200, "content-type": "application/grpc" },
      { waitForTrailers: true },
    );
    if (path.endsWith("List")) send(stream, messages);
    else stream.end(empty);
  });
});
server.listen(0, "127.0.0.1", () => {
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  console.log(`http://127.0.0.1:${address.port} `);
});

/** As the other end takes them. */
function send(stream: ServerHttp2Stream, count: number): void {
  for (let left = count; left > 0; left -= 1) {
    if (!stream.write(frame)) {
      stream.once("drain", () => send(stream, left - 1));
      return;
    }
  }
  stream.end();
}
