import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { readdir } from "node:fs/promises";
import { connect as connectTcp } from "node:net";
import { join } from "node:path";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { connect } from "../../src/client/client.ts";
import { ClientError } from "../../src/client/client-error.ts";
import { FileService, UploadFileRequestSchema } from "../../src/gen/collector/files_pb.ts";
import type { Limits } from "../../src/lib/limits.ts";
import { type Collector, createCollector } from "../../src/server.ts";
import { curl } from "../support/curl.ts";
import { noteItem } from "../support/notes.ts";
import { beginCall, connectRaw } from "../support/raw-call.ts";
import { type TempFolder, tempFolder } from "../support/temp-folder.ts";
import { TestClient } from "../support/test-client.ts";
import { waitUntil } from "../support/wait.ts";

interface Served extends AsyncDisposable {
  readonly server: Collector;
  readonly folder: TempFolder;
}

/** A collector with collection `notes`, which has record `ada`. */
async function serve(limits: Partial<Limits> = {}): Promise<Served> {
  const folder = await tempFolder("files");
  const server = await createCollector({ port: 0, logLevel: "silent", data: folder.path, limits });
  using client = new TestClient(server.url);
  await client.registerNotes();
  await client.createNotes("notes");
  await client.records.create({ collectionName: "notes", id: "ada", item: noteItem(1) });
  return {
    server,
    folder,
    [Symbol.asyncDispose]: async () => {
      await server.close();
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** Files of the data folder that are content, or on the way to become some. */
async function contentIn(folder: TempFolder): Promise<string[]> {
  const entries = await readdir(join(folder.path, "stores"), {
    recursive: true,
    withFileTypes: true,
  });
  return entries
    .filter((entry) => entry.isFile() && !entry.name.startsWith("data.sqlite"))
    .map((entry) => `${entry.parentPath.split("/").at(-1)}/${entry.name}`);
}

function sha256Of(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

async function readAll(content: AsyncIterable<Uint8Array>): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(content));
}

async function* parts(
  header: MessageInitShape<typeof UploadFileRequestSchema>["part"] & { case: "header" },
  content: Uint8Array,
): AsyncIterable<MessageInitShape<typeof UploadFileRequestSchema>> {
  yield { part: header };
  for (let at = 0; at < content.byteLength; at += 50_000) {
    yield { part: { case: "chunk", value: content.subarray(at, at + 50_000) } };
  }
}

describe("FileService over gRPC", () => {
  it("stores, reads, lists and deletes files of a record and of its collection", async () => {
    await using served = await serve();
    await using client = await connect({ url: served.server.url });
    const files = client.files("notes");
    const content = randomBytes(3_000_000);
    const put = await files.put("photos/front.jpg", content, {
      recordId: "ada",
      contentType: "image/jpeg",
      sha256: sha256Of(content),
    });
    assert.equal(put.sha256, sha256Of(content));
    assert.equal(put.sizeBytes, 3_000_000n);
    await files.put("shared.txt", Buffer.from("shared"));
    const whole = await files.get("photos/front.jpg", { recordId: "ada" });
    assert.deepEqual(whole.file, put);
    assert.deepEqual(await readAll(whole.content), content);
    const range = { recordId: "ada", offset: 1_000_000n, length: 700_000n };
    const part = await files.get("photos/front.jpg", range);
    assert.deepEqual(await readAll(part.content), content.subarray(1_000_000, 1_700_000));
    assert.deepEqual(await Array.fromAsync(files.list({ recordId: "ada" })), [put]);
    const shared = await Array.fromAsync(files.list());
    assert.deepEqual(
      shared.map(({ name }) => name),
      ["shared.txt"],
    );
    await files.delete("photos/front.jpg", { recordId: "ada" });
    await assert.rejects(files.stat("photos/front.jpg", { recordId: "ada" }), {
      reason: "FILE_NOT_FOUND",
    });
  });

  it("tells a caller who is refused why, whatever the caller is sending", async () => {
    await using served = await serve({ fileBytesMax: 1_000_000 });
    await using client = await connect({ url: served.server.url });
    const files = client.files("notes");
    await files.put("a", Buffer.from("a"));
    const endless = async function* (): AsyncIterable<Uint8Array> {
      for (;;) {
        yield randomBytes(100_000);
        await sleep(0);
      }
    };
    for (const [reason, name, options] of [
      ["FILE_EXISTS", "a", { createOnly: true }],
      ["FILE_NAME_INVALID", "../a", {}],
      ["RECORD_NOT_FOUND", "b", { recordId: "nobody" }],
      ["FILE_TOO_LARGE", "b", {}],
    ] as const) {
      await assert.rejects(
        files.put(name, endless(), options),
        (error) => error instanceof ClientError && error.reason === reason,
        reason,
      );
    }
    assert.equal((await contentIn(served.folder)).length, 1);
    const own = async function* (): AsyncIterable<Uint8Array> {
      yield Buffer.from("x");
      throw new Error("the source broke");
    };
    await assert.rejects(files.put("b", own()), /the source broke/);
    await waitUntil("nothing is left", 5000, async () => {
      return (await contentIn(served.folder)).length === 1;
    });
  });

  it("removes the files of a record with it, and soon from disk", async () => {
    await using served = await serve();
    await using client = await connect({ url: served.server.url });
    await client.files("notes").put("a", randomBytes(1000), { recordId: "ada" });
    await client.services.records.delete({ collectionName: "notes", id: "ada" });
    await assert.rejects(client.files("notes").stat("a", { recordId: "ada" }), {
      reason: "FILE_NOT_FOUND",
    });
    await waitUntil("the content is gone", 5000, async () => {
      return (await contentIn(served.folder)).length === 0;
    });
  });

  it("takes the namespace of an upload from its header, and none that the metadata contradicts", async () => {
    await using served = await serve();
    using client = new TestClient(served.server.url);
    const files = createClient(FileService, client.transport);
    const upload = (namespace: string, metadata = {}) =>
      files.uploadFile(
        parts(
          { case: "header", value: { file: { namespace, collectionName: "notes", name: "a" } } },
          Buffer.from("x"),
        ),
        { headers: metadata },
      );
    const { file } = await upload("default");
    assert.equal(file?.file?.namespace, "default");
    assert.equal((await upload("")).file?.file?.namespace, "default");
    await assert.rejects(upload("default", { "x-collector-namespace": "other" }), /NAMESPACE|say/);
  });

  it("ends an upload of a byte at a time, and one that stops, and keeps nothing of them", async () => {
    await using served = await serve({ streamIdleMs: 300 });
    using raw = connectRaw(served.server.url);
    const header = toBinary(
      UploadFileRequestSchema,
      create(UploadFileRequestSchema, {
        part: { case: "header", value: { file: { collectionName: "notes", name: "slow" } } },
      }),
    );
    const begin = () => {
      const call = beginCall(raw.session, "/collector.FileService/UploadFile");
      const prefix = Buffer.from([0, 0, 0, 0, header.byteLength]);
      call.stream.write(Buffer.concat([prefix, header]));
      return call;
    };
    const stopped = begin();
    const dripping = begin();
    // A chunk of 600 bytes, of which one comes now and then.
    dripping.stream.write(Buffer.from([0, 0, 0, 2, 88, 0x12, 0xd5, 0x04]));
    const drip = setInterval(() => dripping.stream.write(Buffer.from([1])), 50);
    const answers = await Promise.all([stopped.answer, dripping.answer]);
    clearInterval(drip);
    for (const { status, message } of answers) {
      assert.equal(status, 4, message);
      assert.match(message, /streamIdleMs/);
    }
    await waitUntil("nothing is left", 5000, async () => {
      return (await contentIn(served.folder)).length === 0;
    });
    await using client = await connect({ url: served.server.url });
    await client.files("notes").put("fine", Buffer.from("x"));
  });

  it("gives up on a reader that never opens its window, and frees the transfer", async () => {
    await using served = await serve({ streamIdleMs: 1500, fileTransfersMax: 1 });
    await using client = await connect({ url: served.server.url });
    const files = client.files("notes");
    await files.put("big", randomBytes(8_000_000));
    using raw = connectRaw(served.server.url);
    const request = Buffer.concat([
      Buffer.from([0, 0, 0, 0, 14, 10, 12]),
      Buffer.from([0x12, 5]),
      Buffer.from("notes"),
      Buffer.from([0x22, 3]),
      Buffer.from("big"),
    ]);
    const call = beginCall(raw.session, "/collector.FileService/DownloadFile");
    call.stream.pause();
    call.stream.end(request);
    await once(call.stream, "response");
    await assert.rejects(files.put("other", Buffer.from("x")), { reason: "OVERLOADED" });
    await waitUntil("the transfer is free", 10_000, async () => {
      await files.put("other", Buffer.from("x"));
      return true;
    });
    call.stream.destroy();
  });
});

describe("FileService over Connect", () => {
  for (const httpVersion of ["1.1", "2"] as const) {
    it(`takes an upload and sends a download over HTTP/${httpVersion}`, async () => {
      await using served = await serve();
      const baseUrl = served.server.url;
      const transport = createConnectTransport({ baseUrl, httpVersion });
      const files = createClient(FileService, transport);
      const content = randomBytes(700_000);
      const file = { collectionName: "notes", name: "a.bin" };
      const { file: stored } = await files.uploadFile(
        parts({ case: "header", value: { file } }, content),
      );
      assert.equal(stored?.sha256, sha256Of(content));
      const chunks: Uint8Array[] = [];
      for await (const { chunk } of files.downloadFile({ file })) chunks.push(chunk);
      assert.deepEqual(Buffer.concat(chunks), content);
    });
  }

  it("leaves nothing of an upload whose caller hangs up", async () => {
    await using served = await serve();
    const transport = createConnectTransport({ baseUrl: served.server.url, httpVersion: "1.1" });
    const files = createClient(FileService, transport);
    const stop = new AbortController();
    const value = { file: { collectionName: "notes", name: "a" } };
    const upload = files.uploadFile(
      (async function* () {
        yield* parts({ case: "header", value }, randomBytes(600_000));
        await waitUntil("the upload is on disk", 5000, async () => {
          return (await contentIn(served.folder)).length === 1;
        });
        stop.abort();
        await sleep(10_000, undefined, { ref: false });
      })(),
      { signal: stop.signal },
    );
    await assert.rejects(upload);
    await waitUntil("nothing is left", 5000, async () => {
      return (await contentIn(served.folder)).length === 0;
    });
  });
});

describe("files by plain HTTP", () => {
  it("are sent whole, in part, or not at all if the caller has them", async () => {
    await using served = await serve();
    await using client = await connect({ url: served.server.url });
    const text = "0123456789";
    const file = await client.files("notes").put("dir/a b%.txt", Buffer.from(text), {
      recordId: "ada",
      contentType: "text/plain; charset=utf-8",
    });
    const url = served.server.url + file.uri;
    assert.match(url, /\/files\/default\/notes\/records\/ada\/dir\/a%20b%25\.txt$/);
    const etag = `"${sha256Of(Buffer.from(text))}"`;
    for (const version of ["--http1.1", "--http2-prior-knowledge"]) {
      const ask = (...args: string[]) => curl(version, ...args, url);
      const whole = await ask();
      assert.equal(whole.status, 200);
      assert.equal(whole.text, text);
      assert.equal(whole.headers.get("etag"), etag);
      assert.equal(whole.headers.get("content-length"), "10");
      assert.equal(whole.headers.get("content-type"), "text/plain; charset=utf-8");
      assert.equal(whole.headers.get("x-content-type-options"), "nosniff");
      assert.equal(whole.headers.get("content-security-policy"), "sandbox");
      assert.match(whole.headers.get("content-disposition") ?? "", /^inline; filename="a b_\.txt"/);
      const modified = whole.headers.get("last-modified") ?? "";
      assert.ok(!Number.isNaN(Date.parse(modified)));

      const head = await ask("-I");
      assert.deepEqual([head.status, head.text], [200, ""]);
      assert.equal(head.headers.get("content-length"), "10");
      assert.equal((await ask("-H", `If-None-Match: ${etag}`)).status, 304);
      assert.equal((await ask("-H", `If-None-Match: "x", W/${etag}`)).status, 304);
      assert.equal((await ask("-H", 'If-None-Match: "x"')).status, 200);
      assert.equal((await ask("-H", `If-Modified-Since: ${modified}`)).status, 304);

      for (const [range, status, expected, contentRange] of [
        ["bytes=2-4", 206, "234", "bytes 2-4/10"],
        ["bytes=8-", 206, "89", "bytes 8-9/10"],
        ["bytes=-3", 206, "789", "bytes 7-9/10"],
        ["bytes=-99", 206, text, "bytes 0-9/10"],
        ["bytes=0-99", 206, text, "bytes 0-9/10"],
        ["bytes=10-", 416, "", "bytes */10"],
        ["bytes=-0", 416, "", "bytes */10"],
        ["bytes=4-2", 200, text, null],
        ["bytes=0-1,3-4", 200, text, null],
        ["lines=1-2", 200, text, null],
        ["bytes=x", 200, text, null],
      ] as const) {
        const part = await ask("-H", `Range: ${range}`);
        assert.deepEqual([part.status, part.text], [status, expected], range);
        assert.equal(part.headers.get("content-range"), contentRange, range);
      }
      const range = ["-H", "Range: bytes=1-2", "-H"];
      assert.equal((await ask(...range, `If-Range: ${etag}`)).text, "12");
      assert.equal((await ask(...range, 'If-Range: "other"')).text, text);
      assert.equal((await ask(...range, `If-Range: ${modified}`)).text, "12");
    }
  });

  it("are kept from running as pages of this server", async () => {
    await using served = await serve();
    await using client = await connect({ url: served.server.url });
    const files = client.files("notes");
    for (const [contentType, kind] of [
      ["text/html", "attachment"],
      ["image/svg+xml", "attachment"],
      ["image/png", "inline"],
      ["application/pdf", "inline"],
      ["video/mp4", "inline"],
      ["text/plainer", "attachment"],
      ["", "attachment"],
    ] as const) {
      const { uri } = await files.put("ü.bin", Buffer.from("x"), { contentType });
      const { headers } = await curl(served.server.url + uri);
      const expected = `${kind}; filename="_.bin"; filename*=UTF-8''%C3%BC.bin`;
      assert.equal(headers.get("content-disposition"), expected, contentType);
    }
  });

  it("answer what is wrong as JSON, and never leave the data folder", async () => {
    await using served = await serve();
    await using client = await connect({ url: served.server.url });
    await client.files("notes").put("..%2f", Buffer.from("only a name"));
    const { url } = served.server;
    for (const [path, status, reason] of [
      ["/files/default/notes/shared/..%252f", 200, ""],
      ["/files/default/notes/shared/missing", 404, "FILE_NOT_FOUND"],
      ["/files/default/none/shared/a", 404, "COLLECTION_NOT_FOUND"],
      ["/files/none/notes/shared/a", 404, "COLLECTION_NOT_FOUND"],
      ["/files/default/notes", 404, "FILE_NOT_FOUND"],
      ["/files/default/notes/other/a", 404, "FILE_NOT_FOUND"],
      ["/files/", 404, "FILE_NOT_FOUND"],
      ["/files/default/notes/shared/", 400, "ARGUMENT_MISSING"],
      ["/files/default/notes/shared/../../../etc/passwd", 400, "FILE_NAME_INVALID"],
      ["/files/default/notes/shared/..%2f..%2fetc/passwd", 400, "FILE_NAME_INVALID"],
      ["/files/default/notes/shared/%2e%2e/x", 400, "FILE_NAME_INVALID"],
      ["/files/default/notes/shared/a%00b", 400, "FILE_NAME_INVALID"],
      ["/files/default/notes/shared/a%5Cb", 400, "FILE_NAME_INVALID"],
      ["/files/default/notes/shared/%ff", 400, "FILE_NAME_INVALID"],
      ["/files/default/notes/shared/%", 400, "FILE_NAME_INVALID"],
      [`/files/default/notes/shared/${"x".repeat(5000)}`, 400, "FILE_NAME_INVALID"],
    ] as const) {
      const answer = await curl("--path-as-is", url + path);
      assert.equal(answer.status, status, path);
      if (status === 200) continue;
      const { reason: seen, message } = JSON.parse(answer.text);
      assert.equal(seen, reason, path);
      assert.ok(!message.includes(served.folder.path));
    }
    const evil = await curl("-H", "Host: evil.example", `${url}/files/default/notes/shared/a`);
    assert.equal(evil.status, 403);
  });

  it("free everything when their reader hangs up, or never reads", async () => {
    await using served = await serve({ streamIdleMs: 300, fileTransfersMax: 1 });
    await using client = await connect({ url: served.server.url });
    const files = client.files("notes");
    const { uri } = await files.put("big", randomBytes(20_000_000));
    const { hostname, port } = new URL(served.server.url);
    for (const hangsUp of [true, false]) {
      const socket = connectTcp(Number(port), hostname);
      socket.on("error", () => undefined);
      socket.write(`GET ${uri} HTTP/1.1\r\nhost: localhost\r\n\r\n`);
      await new Promise((resolve) => socket.once("readable", resolve));
      if (hangsUp) socket.destroy();
      await waitUntil("the transfer is free", 10_000, async () => {
        await files.put("other", Buffer.from("x"));
        return true;
      });
      socket.destroy();
    }
  });

  it("pass the access control of FileService", async () => {
    await using folder = await tempFolder("files-access");
    const seen: string[] = [];
    await using server = await createCollector({
      port: 0,
      logLevel: "silent",
      data: folder.path,
      access: {
        authenticate: (call) => ({ id: call.requestMetadata.get("authorization") ?? "nobody" }),
        authorize: ({ id }, { methodName, namespace, protocol }) => {
          if (methodName.endsWith("File"))
            seen.push(`${id} ${protocol} ${namespace} ${methodName}`);
        },
      },
    });
    using client = new TestClient(server.url);
    await client.registerNotes();
    await client.createNotes("notes");
    await createClient(FileService, client.transport).uploadFile(
      parts(
        { case: "header", value: { file: { collectionName: "notes", name: "a" } } },
        Buffer.from("x"),
      ),
    );
    await curl("-H", "Authorization: Bearer me", `${server.url}/files/default/notes/shared/a`);
    assert.deepEqual(seen, [
      "nobody grpc default UploadFile",
      "Bearer me http default StatFile",
      "Bearer me http default DownloadFile",
    ]);
  });
});
