import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http2";
import type { AddressInfo } from "node:net";
import { it } from "node:test";
import { runCli } from "../support/run-cli.ts";

it("an export takes as long as it takes, unless somebody says otherwise", async () => {
  const deadlines: unknown[] = [];
  const server = createServer();
  server.on("stream", (stream, headers) => {
    if (headers[":path"]?.endsWith("/Export") === true) deadlines.push(headers["grpc-timeout"]);
    stream.respond({ ":status": 200, "grpc-status": "5" }, { endStream: true });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  try {
    await runCli(["record", "export", "products", "--url", url]);
    await runCli(["record", "export", "products", "--url", url, "--timeout", "2m"]);
  } finally {
    server.close();
  }
  assert.deepEqual(deadlines, [undefined, "120000m"]);
});
