import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { constants, createServer, type Http2Server } from "node:http2";
import type { AddressInfo } from "node:net";
import { after, before, describe, it } from "node:test";
import { promisify } from "node:util";
import { create, type Message, toBinary } from "@bufbuild/protobuf";
import type { GenMessage } from "@bufbuild/protobuf/codegenv2";
import { DownloadFileResponseSchema } from "../gen/collector/files_pb.ts";
import { ExportResponseSchema, WatchResponseSchema } from "../gen/collector/record_streams_pb.ts";
import { connect } from "./client.ts";
import { watchCollection } from "./watch.ts";

function frame<T extends Message>(schema: GenMessage<T>, message: T): Buffer {
  const bytes = toBinary(schema, message);
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(bytes.byteLength, 1);
  return Buffer.concat([prefix, bytes]);
}

/** What is answered to each method, and nothing after it. */
const firstAnswers: Readonly<Record<string, Buffer>> = {
  Export: frame(ExportResponseSchema, create(ExportResponseSchema)),
  Watch: frame(WatchResponseSchema, create(WatchResponseSchema, { changes: [{ id: "a" }] })),
  DownloadFile: Buffer.concat([
    frame(
      DownloadFileResponseSchema,
      create(DownloadFileResponseSchema, { file: { file: { name: "a" } } }),
    ),
    frame(
      DownloadFileResponseSchema,
      create(DownloadFileResponseSchema, { chunk: new Uint8Array(1) }),
    ),
  ]),
};

describe("a stream that is left before its end", () => {
  let server: Http2Server;
  let url: string;
  let ended: Promise<number | undefined>;

  before(async () => {
    server = createServer();
    server.on("sessionError", () => undefined);
    server.on("stream", (stream, headers) => {
      const { promise, resolve } = Promise.withResolvers<number | undefined>();
      ended = promise;
      stream.on("error", () => undefined);
      stream.on("close", () => resolve(stream.rstCode));
      stream.respond({ ":status": 200, "content-type": "application/grpc" });
      stream.write(firstAnswers[String(headers[":path"]).split("/")[2] ?? ""] ?? "");
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });

  after(async () => {
    server.close();
    await once(server, "close");
  });

  it("is ended at the server", async () => {
    await using client = await connect({ url, env: {} });
    const watch = watchCollection(
      client.services.streams,
      { namespace: "", collectionName: "c" },
      {},
    );
    for await (const { changes } of watch) {
      assert.equal(changes[0]?.id, "a");
      break;
    }
    assert.equal(await ended, constants.NGHTTP2_CANCEL);
    const { file, content } = await client.files("c").get("a");
    assert.equal(file.name, "a");
    for await (const chunk of content) {
      assert.equal(chunk.byteLength, 1);
      break;
    }
    assert.equal(await ended, constants.NGHTTP2_CANCEL);
  });

  it("keeps no program, whatever deadline it had", async () => {
    const from = (name: string): string => JSON.stringify(new URL(name, import.meta.url));
    const program = `import { connect } from ${from("client.ts")};
      import { untilLeft } from ${from("until-left.ts")};
      await using client = await connect({ url: "${url}", env: {}, timeoutMs: 60_000 });
      const call = (signal) => client.services.streams.export({ collectionName: "c" }, { signal });
      for await (const answer of untilLeft(call)) break;`;
    const args = ["--input-type=module", "--eval", program];
    await promisify(execFile)(process.execPath, args, { timeout: 20_000 });
  });
});
