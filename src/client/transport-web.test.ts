import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, describe, it } from "node:test";
import { create, toBinary } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { ExportResponseSchema } from "../gen/collector/record_streams_pb.ts";
import { createServices, type Services } from "./services.ts";
import { openTransport } from "./transport-web.ts";

const broken = {
  reason: "CONNECTION_BROKEN",
  code: Code.Unavailable,
  retryable: false,
};

function servicesAt(url: string): Services {
  const options = { url, headers: {}, timeoutMs: 5000, messageBytesMax: 1000, ca: undefined };
  return createServices(openTransport(options).transport);
}

describe("the transport of browsers", () => {
  let server: Server;
  let services: Services;
  let url: string;

  before(async () => {
    server = createServer((request, response) => {
      request.resume();
      const path = request.url ?? "";
      if (path.endsWith("/Get")) {
        request.socket.destroy();
      } else if (path.endsWith("/List")) {
        response.writeHead(200, { "content-type": "application/proto", "content-length": "100" });
        response.write("half");
        setTimeout(() => request.socket.destroy(), 20);
      } else if (path.endsWith("/Export")) {
        const bytes = toBinary(ExportResponseSchema, create(ExportResponseSchema));
        const prefix = Buffer.alloc(5);
        prefix.writeUInt32BE(bytes.byteLength, 1);
        response.writeHead(200, { "content-type": "application/connect+proto" });
        response.write(Buffer.concat([prefix, bytes]));
        setTimeout(() => request.socket.destroy(), 20);
      }
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    services = servicesAt(url);
  });

  after(async () => {
    server.closeAllConnections();
    server.close();
    await once(server, "close");
  });

  it("says that the connection broke, before and in the middle of an answer", async () => {
    const message = `the connection to ${url} broke`;
    const { records, streams } = services;
    await assert.rejects(records.get({ collectionName: "c", id: "a" }), { ...broken, message });
    await assert.rejects(records.list({ collectionName: "c" }), { ...broken, message });
    const answers = streams.export({ collectionName: "c" })[Symbol.asyncIterator]();
    assert.equal((await answers.next()).done, false);
    await assert.rejects(answers.next(), { ...broken, message });
    await assert.rejects(servicesAt("http://127.0.0.1:1").records.meta({}), broken);
  });

  it("says that a call was given up here, or took too long", async () => {
    const controller = new AbortController();
    const options = { signal: controller.signal };
    const call = services.records.search({ collectionName: "c" }, options);
    setTimeout(() => controller.abort(), 20);
    await assert.rejects(call, { reason: "CANCELLED" });
    const late = services.records.search({ collectionName: "c" }, { timeoutMs: 20 });
    await assert.rejects(late, { reason: "DEADLINE_EXCEEDED" });
  });
});
