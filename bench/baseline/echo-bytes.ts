import http2 from "node:http2";

/** gRPC on bare `node:http2`: whatever is called but health, what came in goes back out, with status OK. */
const windowBytes = 8 * 1024 * 1024;

const server = http2.createServer({ settings: { initialWindowSize: windowBytes } });
server.on("session", (session) => {
  session.setLocalWindowSize(windowBytes);
  session.on("error", () => undefined);
});
server.on("stream", (stream, headers) => {
  if (headers[":path"]?.startsWith("/grpc.health.") === true) {
    const refusal = { ":status": 200, "content-type": "application/grpc", "grpc-status": "12" };
    stream.respond(refusal, { endStream: true });
    return;
  }
  const chunks: Buffer[] = [];
  stream.on("error", () => undefined);
  stream.on("data", (chunk: Buffer) => chunks.push(chunk));
  stream.on("end", () => {
    stream.respond(
      { ":status": 200, "content-type": "application/grpc" },
      { waitForTrailers: true },
    );
    stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
    stream.end(chunks.length === 1 ? chunks[0] : Buffer.concat(chunks));
  });
});
server.listen(0, "127.0.0.1", () => {
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  console.log(`http://127.0.0.1:${address.port} `);
});
