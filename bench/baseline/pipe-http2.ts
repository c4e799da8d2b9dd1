import http2 from "node:http2";

/**
 * The least that passes calls on with `node:http2`: one connection to the server of the argument, and
 * each stream piped to one of its own there.
 */
const [, , target = ""] = process.argv;
const windowBytes = 8 * 1024 * 1024;
const settings = { initialWindowSize: windowBytes };

const there = http2.connect(target, { settings: { ...settings, enablePush: false } });
there.on("connect", () => there.setLocalWindowSize(windowBytes));
const server = http2.createServer({ settings });
server.on("session", (session) => {
  session.setLocalWindowSize(windowBytes);
  session.on("error", () => undefined);
});
server.on("stream", (stream, headers) => {
  let trailers: http2.IncomingHttpHeaders = {};
  const onward = there.request({
    ":method": "POST",
    ":path": headers[":path"],
    "content-type": "application/grpc",
    te: "trailers",
  });
  stream.on("error", () => onward.close());
  onward.on("error", () => stream.close());
  onward.on("response", (answer) => {
    const head = { ":status": 200, "content-type": answer["content-type"] };
    stream.on("wantTrailers", () =>
      stream.sendTrailers({ "grpc-status": trailers["grpc-status"] ?? "2" }),
    );
    stream.respond(head, { waitForTrailers: true });
    onward.pipe(stream);
  });
  onward.on("trailers", (received) => {
    trailers = received;
  });
  stream.pipe(onward);
});
server.listen(0, "127.0.0.1", () => {
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  console.log(`http://127.0.0.1:${address.port} `);
});
