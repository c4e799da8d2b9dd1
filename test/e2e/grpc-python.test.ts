import assert from "node:assert/strict";
import { execFile, spawnSync } from "node:child_process";
import { join } from "node:path";
import { describe, it } from "node:test";
import { create, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { openGrpcFixture } from "../support/grpc-fixture.ts";
import { files } from "../support/http-fixture.ts";

/** Debian's, which has the modules; another Python in the PATH may not. */
const python = "/usr/bin/python3";
const script = join(import.meta.dirname, "../interop/python/echo_client.py");

const probe = spawnSync(python, ["-c", "import grpc, google.protobuf"]);
const isMissing = probe.status !== 0;
const hint = `${python} cannot import grpc and google.protobuf; on Debian: apt-get install python3-grpcio python3-protobuf`;

describe("gRPC for Python", () => {
  const skip = isMissing && process.env["CI"] === undefined ? hint : false;

  it("serves grpcio: every kind of call, metadata, gzip, deadlines", { skip }, async () => {
    assert.ok(!isMissing, hint);
    await using server = await openGrpcFixture({
      handlers: {
        unary: async (request, call) => {
          call.responseHeaders.set("x-head-bin", new Uint8Array([0, 255]));
          call.responseTrailers.set("x-tail", "t");
          const raw = call.requestMetadata.getBinary("x-raw-bin");
          const words = Array.from(call.requestMetadata.entries())
            .filter(([name]) => name === "x-word")
            .map(([, value]) => value);
          const metadata = {
            words: words.join("|"),
            raw: Buffer.from(raw ?? []).toString("hex"),
          };
          return { request, metadata };
        },
      },
    });
    const seen = await run(server.address);
    assert.deepEqual(seen, {
      unary: ["grüße", "9223372036854775807", "00ff"],
      metadata: { words: "one|two", raw: "00ff80" },
      headers: { "x-head-bin": "00ff" },
      trailers: { "x-tail": "t" },
      serverStream: [0, 1, 2, 3],
      clientStream: "a b c",
      bidi: ["x", "y"],
      deadline: "DEADLINE_EXCEEDED",
      unknown: "UNIMPLEMENTED",
      failure: ["INTERNAL", "the server failed; its log has the details"],
      cancelled: true,
      gzip: true,
    });
  });
});

/** Runs the Python client against a server and returns what it saw. */
function run(address: string): Promise<unknown> {
  const set = create(FileDescriptorSetSchema, {
    file: Array.from(files.files, ({ proto }) => proto),
  });
  return new Promise((resolve, reject) => {
    const child = execFile(
      python,
      [script, address],
      { timeout: 60_000 },
      (error, stdout, stderr) => {
        if (error === null) resolve(JSON.parse(stdout));
        else reject(new Error(stderr, { cause: error }));
      },
    );
    child.stdin?.end(toBinary(FileDescriptorSetSchema, set));
  });
}
