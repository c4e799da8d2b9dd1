import http2 from "node:http2";

/**
 * The least that `node:http2` can do: reads a request and answers fixed bytes: a gRPC message
 * that holds one field of bytes.
 *
 * Arguments: how many bytes to answer, and `trailers` to end with a gRPC status as gRPC has to.
 */
const answer = Buffer.alloc(Number(process.argv[2] ?? 0), 1);
if (answer.byteLength >= 9) {
  answer[0] = 0;
  answer.writeUInt32BE(answer.byteLength - 5, 1);
  const bytes = answer.byteLength - 9;
  answer.set([0x0a, (bytes & 127) | 128, ((bytes >> 7) & 127) | 128, bytes >> 14], 5);
}
const withTrailers = process.argv[3] === "trailers";
const windowBytes = 8 * 1024 * 1024;

const server = http2.createServer({ settings: { initialWindowSize: windowBytes } });
server.on("session", (session) => session.setLocalWindowSize(windowBytes));
server.on("stream", (stream) => {
  stream.on("data", () => undefined);
  stream.on("end", () => {
    stream.respond(
      { ":status": 200, "content-type": "application/grpc" },
      { waitForTrailers: withTrailers },
    );
    if (withTrailers) {
      stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
    }
    stream.end(answer);
  });
});
server.listen(0, "127.0.0.1", () => {
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  console.log(`http://127.0.0.1:${address.port} `);
});
