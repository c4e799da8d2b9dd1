import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { constants, createServer, type Http2Server, type ServerHttp2Stream } from "node:http2";
import type { AddressInfo } from "node:net";
import { after, before, describe, it } from "node:test";
import { promisify } from "node:util";
import { create, toBinary } from "@bufbuild/protobuf";
import { anyPack } from "@bufbuild/protobuf/wkt";
import { Code, createClient } from "@connectrpc/connect";
import { CollectionService, GetResponseSchema } from "../gen/collector/collection_server_pb.ts";
import { ErrorInfoSchema } from "../gen/google/rpc/error_details_pb.ts";
import { StatusSchema } from "../gen/google/rpc/status_pb.ts";
import { type Client, type ConnectOptions, connect } from "./client.ts";

const answer = toBinary(GetResponseSchema, create(GetResponseSchema, { item: { typeUrl: "x/y" } }));

/** As gRPC has messages: a flag, the length, the bytes. */
function frame(bytes: Uint8Array, flag = 0, length = bytes.byteLength): Buffer {
  const prefix = Buffer.alloc(5);
  prefix[0] = flag;
  prefix.writeUInt32BE(length, 1);
  return Buffer.concat([prefix, bytes]);
}

function respond(stream: ServerHttp2Stream, body: Uint8Array, trailers: Record<string, string>) {
  stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
  stream.on("wantTrailers", () => stream.sendTrailers(trailers));
  stream.end(body);
}

const ok = { "grpc-status": "0", "x-note": "after" };

/** What a server does with a call, by the id that is asked for. */
const behaviours: Readonly<Record<string, (stream: ServerHttp2Stream) => void>> = {
  fine: (stream) => respond(stream, frame(answer), ok),
  pieces: (stream) => {
    stream.respond({ ":status": 200 }, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers(ok));
    const bytes = frame(answer);
    stream.write(bytes.subarray(0, 3));
    setTimeout(() => stream.end(bytes.subarray(3)), 5);
  },
  refusal: (stream) => {
    const detail = anyPack(
      ErrorInfoSchema,
      create(ErrorInfoSchema, { reason: "RECORD_NOT_FOUND" }),
    );
    const status = toBinary(StatusSchema, create(StatusSchema, { code: 5, details: [detail] }));
    stream.respond(
      {
        ":status": 200,
        "grpc-status": "5",
        "grpc-message": "keine gr%C3%BC%C3%9Fe",
        "grpc-status-details-bin": Buffer.from(status).toString("base64"),
      },
      { endStream: true },
    );
  },
  proxy: (stream) => stream.respond({ ":status": 403 }, { endStream: true }),
  packed: (stream) => respond(stream, frame(answer, 1), ok),
  short: (stream) => respond(stream, frame(answer, 0, answer.byteLength + 1), ok),
  empty: (stream) => respond(stream, Buffer.alloc(0), ok),
  strange: (stream) => respond(stream, Buffer.alloc(0), { "grpc-status": "99" }),
  large: (stream) => respond(stream, frame(Buffer.alloc(5000)), ok),
  silent: () => undefined,
  leaving: (stream) => {
    stream.session?.goaway(constants.NGHTTP2_NO_ERROR);
    setTimeout(() => respond(stream, frame(answer), ok), 50);
  },
  refused: (stream) => stream.close(constants.NGHTTP2_REFUSED_STREAM),
  cancelled: (stream) => stream.close(constants.NGHTTP2_CANCEL),
  broken: (stream) => stream.session?.destroy(),
};

describe("a unary gRPC call of the client", () => {
  let server: Http2Server;
  let client: Client;
  let sessions = 0;
  let seen: { readonly id: string; readonly headers: Readonly<Record<string, unknown>> }[] = [];

  const open = (options: ConnectOptions = {}): Promise<Client> => {
    const { port } = server.address() as AddressInfo;
    return connect({ url: `http://127.0.0.1:${port}`, env: {}, retries: 0, ...options });
  };
  const get = (id: string, limits = {}, by = client) =>
    by.services.records.get({ collectionName: "c", id }, limits);

  before(async () => {
    server = createServer();
    server.on("sessionError", () => undefined);
    server.on("session", () => {
      sessions += 1;
    });
    server.on("stream", (stream, headers) => {
      stream.on("error", () => undefined);
      const chunks: Buffer[] = [];
      stream.on("data", (chunk: Buffer) => chunks.push(chunk));
      stream.on("end", () => {
        const id = Object.keys(behaviours).find((name) => Buffer.concat(chunks).includes(name));
        seen.push({ id: id ?? "", headers });
        behaviours[id ?? "fine"]?.(stream);
      });
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    client = await open({ namespace: "team", token: "t", timeoutMs: 5000, messageBytesMax: 1000 });
  });

  after(async () => {
    client.close();
    server.close();
    await once(server, "close");
  });

  it("says what it wants, and hands out the answer with its headers", async () => {
    seen = [];
    let trailers: Headers | undefined;
    const onTrailer = (received: Headers): void => {
      trailers = received;
    };
    const records = createClient(CollectionService, client.transport);
    const request = { collectionName: "c", id: "fine" };
    const options = { onTrailer, timeoutMs: 1234, headers: { "x-own": "1" } };
    assert.equal((await records.get(request, options)).item?.typeUrl, "x/y");
    assert.equal(trailers?.get("x-note"), "after");
    const headers = seen[0]?.headers ?? {};
    const sent = ["content-type", "te", "grpc-timeout", "authorization", "x-own"].map(
      (name) => headers[name],
    );
    assert.deepEqual(sent, ["application/grpc", "trailers", "1234m", "Bearer t", "1"]);
    assert.equal(headers["x-collector-namespace"], "team");
    assert.equal((await get("pieces")).item?.typeUrl, "x/y");
  });

  it("fails as the server says, with details and any letters", async () => {
    await assert.rejects(get("refusal"), {
      reason: "RECORD_NOT_FOUND",
      code: Code.NotFound,
      message: "keine grüße",
    });
    await assert.rejects(get("strange"), { code: Code.Unknown });
    await assert.rejects(get("proxy"), { reason: "PERMISSION_DENIED", message: "HTTP 403" });
    await assert.rejects(get("cancelled"), { reason: "CANCELLED" });
  });

  it("refuses what is no answer of one message", async () => {
    for (const [id, message] of [
      ["packed", /compressed/],
      ["short", /should be one message of \d+ bytes/],
      ["empty", /holds no message/],
    ] as const) {
      await assert.rejects(get(id), { code: Code.Internal, message }, id);
    }
    await assert.rejects(get("large"), { code: Code.ResourceExhausted, message: /1000 bytes/ });
  });

  it("ends with its deadline and its signal, and the server is told", async () => {
    await assert.rejects(get("silent", { timeoutMs: 20 }), { reason: "DEADLINE_EXCEEDED" });
    const controller = new AbortController();
    const call = get("silent", { signal: controller.signal });
    setTimeout(() => controller.abort(), 20);
    await assert.rejects(call, { reason: "CANCELLED" });
    await assert.rejects(get("fine", { signal: AbortSignal.abort() }), { reason: "CANCELLED" });
  });

  it("tells a call that was refused from one that may have run, and reads again after both", async () => {
    await assert.rejects(get("refused"), { reason: "CONNECTION_FAILED" });
    await assert.rejects(get("broken"), { reason: "CONNECTION_BROKEN" });
    assert.equal((await get("fine")).item?.typeUrl, "x/y");
    await using patient = await open({ retries: 2 });
    seen = [];
    await assert.rejects(get("broken", {}, patient), { code: Code.Unavailable });
    assert.equal(seen.length, 3);
    seen = [];
    const write = patient.services.records.delete({ collectionName: "c", id: "broken" });
    await assert.rejects(write, { code: Code.Unavailable, retryable: false });
    assert.equal(seen.length, 1);
  });

  it("shares a connection with others, and is made on another one if that takes no more", async () => {
    await using own = await open();
    sessions = 0;
    await Promise.all(["fine", "pieces", "fine"].map((id) => get(id, {}, own)));
    assert.equal(sessions, 1);
    const leaving = get("leaving", {}, own);
    await new Promise((resolve) => setTimeout(resolve, 25));
    assert.equal((await get("fine", {}, own)).item?.typeUrl, "x/y");
    assert.equal((await leaving).item?.typeUrl, "x/y");
    assert.equal(sessions, 2);
    await using nowhere = await connect({ url: "http://127.0.0.1:1", env: {}, retries: 0 });
    for (let i = 0; i < 2; i += 1)
      await assert.rejects(get("fine", {}, nowhere), { reason: "CONNECTION_FAILED" });
  });

  it("lets a program end that has forgotten to close its client", async () => {
    const { port } = server.address() as AddressInfo;
    const program = `import { connect } from ${JSON.stringify(new URL("client.ts", import.meta.url))};
      const client = await connect({ url: "http://127.0.0.1:${port}", env: {} });
      const found = await client.services.records.get({ collectionName: "c", id: "fine" });
      process.stdout.write(found.item.typeUrl);`;
    const args = ["--input-type=module", "--eval", program];
    const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: 60_000 });
    assert.equal(stdout, "x/y");
  });

  it("is not made by a client that is closed", async () => {
    const closed = await open();
    closed.close();
    await assert.rejects(get("fine", {}, closed), { reason: "CANCELLED", message: /closed/ });
  });
});
