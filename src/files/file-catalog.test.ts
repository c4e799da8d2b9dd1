import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { CatalogFixture, product } from "../collections/testing/fixture.ts";
import { CollectorError } from "../errors.ts";
import {
  DeleteFileRequestSchema,
  DownloadFileRequestSchema,
  type FileInfo,
  type FileNameSchema,
  ListAttachedFilesRequestSchema,
  UploadFileRequest_HeaderSchema,
} from "../gen/collector/files_pb.ts";
import type { Limits } from "../lib/limits.ts";
import { FileCatalog } from "./file-catalog.ts";

type Name = Partial<MessageInitShape<typeof FileNameSchema>>;

/** The files of a catalog with collection `products`, which has record `esp-1`. */
class FilesFixture implements AsyncDisposable {
  readonly #catalog: CatalogFixture;
  files: FileCatalog;

  private constructor(catalog: CatalogFixture) {
    this.#catalog = catalog;
    this.files = new FileCatalog({ collections: catalog.catalog, limits: catalog.limits });
  }

  static async open(limits: Partial<Limits> = {}): Promise<FilesFixture> {
    const catalog = await CatalogFixture.open(limits);
    const fixture = new FilesFixture(catalog);
    const products = await catalog.collection("products");
    await products.create({ ...emptyCreate, id: "esp-1", item: product({ sku: "1" }) }, call);
    return fixture;
  }

  get catalog(): CatalogFixture {
    return this.#catalog;
  }

  async restart(): Promise<void> {
    await this.#catalog.restart();
    const { catalog, limits } = this.#catalog;
    this.files = new FileCatalog({ collections: catalog, limits });
  }

  put(
    name: string,
    content: Uint8Array | AsyncIterable<Uint8Array>,
    options: Name & {
      ifMatch?: string;
      createOnly?: boolean;
      sha256?: string;
      signal?: AbortSignal;
    } = {},
  ): Promise<FileInfo> {
    const {
      ifMatch = "",
      createOnly = false,
      sha256 = "",
      signal = call.signal,
      ...rest
    } = options;
    const header = create(UploadFileRequest_HeaderSchema, {
      file: { ...target, name, ...rest },
      ifMatch,
      createOnly,
      sha256,
    });
    const chunks = content instanceof Uint8Array ? inChunks(content) : content;
    return this.files.upload(header, chunks, signal);
  }

  async get(name: string, offset = 0n, length = 0n, rest: Name = {}): Promise<Buffer> {
    const request = create(DownloadFileRequestSchema, {
      file: { ...target, name, ...rest },
      offset,
      length,
    });
    await using download = await this.files.download(request);
    return Buffer.concat(await Array.fromAsync(download.chunks));
  }

  delete(name: string, rest: Name & { ifMatch?: string; allowMissing?: boolean } = {}) {
    const { ifMatch = "", allowMissing = false, ...file } = rest;
    const request = { file: { ...target, name, ...file }, ifMatch, allowMissing };
    return this.files.delete(create(DeleteFileRequestSchema, request));
  }

  /** What lies in any folder for uploads. */
  async leftovers(): Promise<string[]> {
    const stores = join(this.#catalog.folder, "stores");
    const entries = await readdir(stores, { recursive: true, withFileTypes: true });
    return entries
      .filter((entry) => entry.isFile() && entry.parentPath.endsWith("uploads"))
      .map(({ name }) => name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#catalog[Symbol.asyncDispose]();
  }
}

const target = { namespace: "default", collectionName: "products", recordId: "" };
const call = { signal: new AbortController().signal };
const emptyCreate = { labels: {}, requestId: "", validateOnly: false, vectors: {} };

async function* inChunks(content: Uint8Array, size = 1000): AsyncIterable<Uint8Array> {
  for (let at = 0; at < content.byteLength; at += size) yield content.subarray(at, at + size);
}

async function reasonOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    assert.ok(error instanceof CollectorError, String(error));
    return error.reason;
  }
  return "done";
}

describe("FileCatalog", () => {
  it("stores a file and sends it back, whole or in part", async () => {
    await using fixture = await FilesFixture.open();
    const content = randomBytes(10_000);
    const info = await fixture.put("a/b.bin", content, { recordId: "esp-1" });
    assert.equal(info.sizeBytes, 10_000n);
    assert.equal(info.contentType, "application/octet-stream");
    assert.equal(info.uri, "/files/default/products/records/esp-1/a/b.bin");
    const owner = { recordId: "esp-1" };
    assert.deepEqual(await fixture.get("a/b.bin", 0n, 0n, owner), content);
    assert.deepEqual(await fixture.get("a/b.bin", 10n, 5n, owner), content.subarray(10, 15));
    assert.deepEqual(await fixture.get("a/b.bin", 9990n, 500n, owner), content.subarray(9990));
    assert.equal((await fixture.get("a/b.bin", 10_000n, 0n, owner)).byteLength, 0);
    assert.equal(await reasonOf(fixture.get("a/b.bin", 10_001n, 0n, owner)), "RANGE_INVALID");
    assert.equal(await reasonOf(fixture.get("a/b.bin", -1n, 0n, owner)), "ARGUMENT_INVALID");
    assert.equal(await reasonOf(fixture.get("a/b.bin")), "FILE_NOT_FOUND");
  });

  it("refuses what is named wrongly, is not there, or is not to be written", async () => {
    await using fixture = await FilesFixture.open();
    const content = Buffer.from("x");
    for (const [reason, name, rest] of [
      ["FILE_NAME_INVALID", "../x", {}],
      ["ARGUMENT_MISSING", "", {}],
      ["ID_INVALID", "x", { recordId: "a\0b" }],
      ["RECORD_NOT_FOUND", "x", { recordId: "nobody" }],
      ["COLLECTION_NOT_FOUND", "x", { collectionName: "nothing" }],
      ["ARGUMENT_MISSING", "x", { collectionName: "" }],
      ["SYSTEM_READ_ONLY", "x", { namespace: "system", collectionName: "collections" }],
    ] as const) {
      assert.equal(await reasonOf(fixture.put(name, content, rest)), reason, name);
      if (reason !== "RECORD_NOT_FOUND") {
        assert.equal(await reasonOf(fixture.delete(name, rest)), reason, name);
      }
    }
    assert.deepEqual(await fixture.leftovers(), []);
  });

  it("holds to conditions before and after the content is sent", async () => {
    await using fixture = await FilesFixture.open();
    const one = await fixture.put("a", Buffer.from("one"));
    const other = createHash("sha256").update("other").digest("hex");
    const never = async function* (): AsyncIterable<Uint8Array> {
      yield* [];
      assert.fail("the content was asked for");
    };
    assert.equal(await reasonOf(fixture.put("a", never(), { createOnly: true })), "FILE_EXISTS");
    assert.equal(await reasonOf(fixture.put("a", never(), { ifMatch: other })), "FILE_MISMATCH");
    const late = async function* (): AsyncIterable<Uint8Array> {
      await fixture.put("b", Buffer.from("two"));
      yield Buffer.from("three");
    };
    assert.equal(await reasonOf(fixture.put("b", late(), { createOnly: true })), "FILE_EXISTS");
    assert.equal((await fixture.get("b")).toString(), "two");
    await fixture.put("a", Buffer.from("two"), { ifMatch: one.sha256.toUpperCase() });
    assert.equal(await reasonOf(fixture.delete("a", { ifMatch: one.sha256 })), "FILE_MISMATCH");
    await fixture.delete("a");
    assert.equal(await reasonOf(fixture.delete("a")), "FILE_NOT_FOUND");
    await fixture.delete("a", { allowMissing: true });
  });

  it("keeps nothing of content that is not what was announced, too large, or breaks off", async () => {
    await using fixture = await FilesFixture.open({ fileBytesMax: 5000, fileChunkBytesMax: 2000 });
    const sha256 = createHash("sha256").update("right").digest("hex");
    await fixture.put("right", Buffer.from("right"), { sha256 });
    const wrong = fixture.put("a", Buffer.from("wrong"), { sha256 });
    assert.equal(await reasonOf(wrong), "CONTENT_MISMATCH");
    await fixture.put("exact", new Uint8Array(5000));
    assert.equal(await reasonOf(fixture.put("a", new Uint8Array(5001))), "FILE_TOO_LARGE");
    const chunk = fixture.put("a", inChunks(new Uint8Array(2001), 2001));
    assert.equal(await reasonOf(chunk), "FILE_TOO_LARGE");
    const breaks = async function* (): AsyncIterable<Uint8Array> {
      yield new Uint8Array(100);
      throw new CollectorError("CANCELLED", "the caller hung up");
    };
    assert.equal(await reasonOf(fixture.put("a", breaks())), "CANCELLED");
    const stop = new AbortController();
    const ends = async function* (): AsyncIterable<Uint8Array> {
      yield new Uint8Array(100);
      stop.abort(new CollectorError("CANCELLED", "the caller hung up"));
    };
    assert.equal(await reasonOf(fixture.put("a", ends(), { signal: stop.signal })), "CANCELLED");
    assert.equal(await reasonOf(fixture.get("a")), "FILE_NOT_FOUND");
    assert.deepEqual(await fixture.leftovers(), []);
  });

  it("holds all collections of a namespace to one quota, uploads at the same time included", async () => {
    await using fixture = await FilesFixture.open({ filesPerNamespaceBytesMax: 10_000 });
    await fixture.catalog.collection("others");
    await fixture.catalog.collection("elsewhere", "shop.v1.Product", { namespace: "other" });
    const put = (name: string, collectionName: string, namespace = "default") =>
      reasonOf(fixture.put(name, randomBytes(3000), { collectionName, namespace }));
    const all = await Promise.all(
      Array.from({ length: 8 }, (_, index) =>
        put(`f${index}`, index % 2 === 0 ? "products" : "others"),
      ),
    );
    const taken = all.filter((reason) => reason === "done").length;
    assert.ok(taken <= 3, `${taken} were taken`);
    assert.ok(all.every((reason) => reason === "done" || reason === "QUOTA_EXCEEDED"));
    for (let more = taken; more < 3; more += 1)
      assert.equal(await put(`m${more}`, "others"), "done");
    assert.equal(await put("over", "products"), "QUOTA_EXCEEDED");
    assert.equal(await put("fits", "elsewhere", "other"), "done");

    await fixture.restart();
    assert.equal(await put("over", "products"), "QUOTA_EXCEEDED");
    assert.deepEqual(await fixture.leftovers(), []);
  });

  it("gives room back when files are removed or replaced, and when their record goes", async () => {
    await using fixture = await FilesFixture.open({ filesPerNamespaceBytesMax: 10_000 });
    await fixture.put("a", randomBytes(6000));
    assert.equal(await reasonOf(fixture.put("b", randomBytes(6000))), "QUOTA_EXCEEDED");
    await fixture.put("a", randomBytes(3000));
    await fixture.put("b", randomBytes(6000));
    await fixture.delete("b");
    await fixture.put("c", randomBytes(6000), { recordId: "esp-1" });
    const products = fixture.catalog.catalog.open("default", "products");
    await products.delete(
      { id: "esp-1", ifMatch: "", requestId: "", allowMissing: false, validateOnly: false },
      call,
    );
    let reason = "";
    for (let attempt = 0; attempt < 100 && reason !== "done"; attempt += 1) {
      reason = await reasonOf(fixture.put("d", randomBytes(6000)));
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    assert.equal(reason, "done");
  });

  it("lists by prefix, page by page, with tokens that are of one query", async () => {
    await using fixture = await FilesFixture.open();
    for (const name of ["a/1", "a/2", "a/3", "b"]) await fixture.put(name, Buffer.from(name));
    const list = (more: object) =>
      fixture.files.list(create(ListAttachedFilesRequestSchema, { ...target, ...more }));
    const first = await list({ prefix: "a/", pageSize: 2 });
    assert.deepEqual(
      first.files.map(({ file }) => file?.name),
      ["a/1", "a/2"],
    );
    const pageToken = first.nextPageToken;
    const second = await list({ prefix: "a/", pageSize: 2, pageToken });
    assert.deepEqual(
      second.files.map(({ file }) => file?.name),
      ["a/3"],
    );
    assert.equal(second.nextPageToken, "");
    assert.equal(await reasonOf(list({ prefix: "b", pageToken })), "PAGE_TOKEN_INVALID");
    assert.equal(await reasonOf(list({ pageSize: -1 })), "PAGE_SIZE_INVALID");
    assert.equal(await reasonOf(list({ prefix: "a\0" })), "FILE_NAME_INVALID");
  });

  it("bounds the transfers under way", async () => {
    await using fixture = await FilesFixture.open({ fileTransfersMax: 1 });
    await fixture.put("a", Buffer.from("content"));
    const request = create(DownloadFileRequestSchema, { file: { ...target, name: "a" } });
    {
      await using download = await fixture.files.download(request);
      assert.equal(download.file.sizeBytes, 7n);
      assert.equal(await reasonOf(fixture.put("b", Buffer.from("x"))), "OVERLOADED");
    }
    await fixture.put("b", Buffer.from("x"));
    assert.equal(await reasonOf(fixture.get("missing")), "FILE_NOT_FOUND");
    assert.equal((await fixture.get("b")).toString(), "x");
  });

  it("sends a file that is replaced all the time, always one of its versions", async () => {
    await using fixture = await FilesFixture.open();
    const versions = Array.from({ length: 4 }, () => randomBytes(400_000));
    const known = new Set(versions.map((bytes) => bytes.toString("base64")));
    await fixture.put("a", versions[0] ?? Buffer.alloc(0));
    const writing = (async () => {
      for (let round = 0; round < 12; round += 1) {
        await fixture.put("a", versions[round % 4] ?? Buffer.alloc(0));
      }
    })();
    const read = async () => {
      for (let round = 0; round < 12; round += 1) {
        assert.ok(known.has((await fixture.get("a")).toString("base64")));
      }
    };
    await Promise.all([writing, read(), read()]);
  });
});
