import { once } from "node:events";
import http2 from "node:http2";

/**
 * Carries one long stream and prints how many MiB/s it was.
 *
 * Arguments: the URL; `down` to receive, `up` to send; the path; how many messages, and the bytes of
 * each.
 */
const [, , url = "", direction, path = "", countText, bytesText] = process.argv;
const count = Number(countText);
const messageBytes = Number(bytesText);
const prefixBytes = 5;
const windowBytes = 8 * 1024 * 1024;

const session = http2.connect(url, {
  settings: { initialWindowSize: windowBytes, enablePush: false },
});
await once(session, "connect");
session.setLocalWindowSize(windowBytes);
const beganMs = performance.now();
const stream = session.request({
  ":method": "POST",
  ":path": path,
  "content-type": "application/grpc",
  te: "trailers",
});
let received = 0;
let status: unknown;
stream.on("data", (chunk: Buffer) => {
  received += chunk.byteLength;
});
stream.on("trailers", (trailers) => {
  status = trailers["grpc-status"];
});
if (direction === "up") {
  const frame = Buffer.alloc(prefixBytes + messageBytes);
  frame.writeUInt32BE(messageBytes, 1);
  const fieldBytes = messageBytes - 4;
  frame.set([0x0a, (fieldBytes & 127) | 128, ((fieldBytes >> 7) & 127) | 128, fieldBytes >> 14], 5);
  for (let left = count; left > 0; left -= 1) {
    if (!stream.write(frame)) await once(stream, "drain");
  }
  stream.end();
} else stream.end(Buffer.alloc(prefixBytes));
await once(stream, "close");
const seconds = (performance.now() - beganMs) / 1000;
const carried = direction === "up" ? count * (prefixBytes + messageBytes) : received;
if (status !== "0" || carried !== count * (prefixBytes + messageBytes)) {
  if (direction !== "up" || status !== "0") {
    throw new Error(`status ${String(status)} after ${received} bytes`);
  }
}
session.destroy();
console.log(carried / 2 ** 20 / seconds);
