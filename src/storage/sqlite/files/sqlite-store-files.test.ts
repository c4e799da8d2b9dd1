import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { tempFolder } from "../../../../test/support/temp-folder.ts";
import { CollectorError } from "../../../errors.ts";
import { defaultLimits, type Limits } from "../../../lib/limits.ts";
import type { RecordStore, StoreLocation } from "../../record-store.ts";
import type { FileCondition, StoredFile } from "../../store-files.ts";
import { SqliteEngine } from "../sqlite-engine.ts";

const location: StoreLocation = { storeId: "files-test", generation: 1n };

/** A store on disk that can be closed and opened again, as a restart does. */
class Fixture implements AsyncDisposable {
  readonly folder: string;
  readonly #limits: Limits;
  readonly #dispose: () => Promise<void>;
  engine!: SqliteEngine;

  private constructor(folder: string, limits: Limits, dispose: () => Promise<void>) {
    this.folder = folder;
    this.#limits = limits;
    this.#dispose = dispose;
  }

  static async open(
    options: { limits?: Partial<Limits>; durability?: "full" | "relaxed" } = {},
  ): Promise<Fixture> {
    const folder = await tempFolder("store-files");
    const limits = { ...defaultLimits, ...options.limits };
    const fixture = new Fixture(folder.path, limits, async () => folder[Symbol.asyncDispose]());
    await fixture.start();
    await fixture.engine.create(location, {
      durability: options.durability ?? "full",
      text: undefined,
      vectors: [],
      indexes: [],
    });
    return fixture;
  }

  async start(): Promise<void> {
    this.engine = await SqliteEngine.open({ dataFolder: this.folder, limits: this.#limits });
  }

  async restart(): Promise<void> {
    await this.engine.close();
    await this.start();
  }

  get store(): RecordStore {
    return this.engine.store(location);
  }

  get path(): string {
    return join(this.folder, "stores", "files-test", "1");
  }

  async put(
    name: string,
    content: Uint8Array,
    options: { owner?: string; condition?: FileCondition } = {},
  ): Promise<StoredFile> {
    const { files } = this.store;
    await using upload = await files.begin();
    for (let at = 0; at < content.byteLength; at += 100_000) {
      await upload.write(content.subarray(at, at + 100_000));
    }
    await upload.finish();
    const file = { owner: options.owner ?? "", name, contentType: "text/plain" };
    return await files.put(upload, file, options.condition);
  }

  async createRecord(id: string, expiresUs?: bigint): Promise<void> {
    const { version: shape } = await this.store.shape();
    const data = new Uint8Array();
    const content = { data, document: "{}", shape, texts: [], vectors: [], expiresUs };
    await this.store.write({ steps: [{ kind: "create", id, content, labels: {} }] });
  }

  /** The content files that are there. */
  async contents(): Promise<string[]> {
    return filesBelow(join(this.path, "files"));
  }

  async uploads(): Promise<string[]> {
    return filesBelow(join(this.path, "uploads"));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.engine.close();
    await this.#dispose();
  }
}

async function filesBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  return entries.filter((entry) => entry.isFile()).map(({ name }) => name);
}

async function contentOf(store: RecordStore, file: StoredFile): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  const range = { offset: 0n, length: file.sizeBytes };
  for await (const chunk of store.files.read(file.sha256, range)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function sha256Of(content: Uint8Array): string {
  return createHash("sha256").update(content).digest("hex");
}

async function eventually(what: string, isTrue: () => Promise<boolean>): Promise<void> {
  for (let attempt = 0; attempt < 200; attempt += 1) {
    if (await isTrue()) return;
    await sleep(50);
  }
  assert.fail(`it never came that ${what}`);
}

describe("SqliteStoreFiles", () => {
  it("stores content by its hash and reads it back, whole and in parts", async () => {
    await using fixture = await Fixture.open();
    const content = randomBytes(1_234_567);
    const file = await fixture.put("photos/front.jpg", content);
    assert.equal(file.sha256, sha256Of(content));
    assert.equal(file.sizeBytes, 1_234_567n);
    assert.deepEqual(await fixture.store.files.stat("", "photos/front.jpg"), file);
    assert.deepEqual(await contentOf(fixture.store, file), content);
    const part: Uint8Array[] = [];
    const range = { offset: 300_000n, length: 500_000n };
    for await (const chunk of fixture.store.files.read(file.sha256, range)) {
      assert.ok(chunk.byteLength <= 1024 * 1024);
      part.push(chunk);
    }
    assert.deepEqual(Buffer.concat(part), content.subarray(300_000, 800_000));
    assert.deepEqual(await fixture.store.files.stats(), { count: 1n, bytes: 1_234_567n });
    await fixture.restart();
    assert.deepEqual(await contentOf(fixture.store, file), content);
  });

  it("stores an empty file", async () => {
    await using fixture = await Fixture.open();
    const file = await fixture.put("empty", new Uint8Array());
    assert.equal(file.sizeBytes, 0n);
    assert.equal((await contentOf(fixture.store, file)).byteLength, 0);
  });

  it("stores equal content once, and keeps it as long as it has a name", async () => {
    await using fixture = await Fixture.open();
    const { files } = fixture.store;
    const content = randomBytes(1000);
    await Promise.all(["a", "b", "c"].map((name) => fixture.put(name, content)));
    assert.deepEqual(await fixture.contents(), [sha256Of(content)]);
    assert.deepEqual(await files.stats(), { count: 3n, bytes: 3000n });
    await files.remove("", "a");
    await files.remove("", "b");
    await files.sweep();
    assert.deepEqual(await fixture.contents(), [sha256Of(content)]);
    await files.remove("", "c");
    await eventually("the content is gone", async () => (await fixture.contents()).length === 0);
    assert.deepEqual(await files.stats(), { count: 0n, bytes: 0n });
  });

  it("replaces a file, keeps when it was first stored, and lets the old content go", async () => {
    await using fixture = await Fixture.open();
    const first = await fixture.put("a", randomBytes(10));
    await sleep(2);
    const second = await fixture.put("a", randomBytes(20));
    assert.equal(second.createdUs, first.createdUs);
    assert.ok(second.updatedUs > first.updatedUs);
    assert.deepEqual(await fixture.store.files.stats(), { count: 1n, bytes: 20n });
    await eventually("only the new content is there", async () => {
      const [only, ...others] = await fixture.contents();
      return only === second.sha256 && others.length === 0;
    });
  });

  it("holds to conditions, and keeps nothing of what it refuses", async () => {
    await using fixture = await Fixture.open();
    const file = await fixture.put("a", Buffer.from("one"));
    const other = Buffer.from("two");
    const refused = async (name: string, condition: FileCondition, owner = "") => {
      try {
        await fixture.put(name, other, { condition, owner });
      } catch (error) {
        assert.ok(error instanceof CollectorError);
        return error.reason;
      }
      return "taken";
    };
    assert.equal(await refused("a", { createOnly: true }), "FILE_EXISTS");
    assert.equal(await refused("a", { ifMatch: sha256Of(other) }), "FILE_MISMATCH");
    assert.equal(await refused("b", { ifMatch: file.sha256 }), "FILE_MISMATCH");
    assert.equal(await refused("a", {}, "nobody"), "RECORD_NOT_FOUND");
    await eventually("nothing of it is left", async () => (await fixture.contents()).length === 1);
    assert.deepEqual(await fixture.uploads(), []);
    const { files } = fixture.store;
    await assert.rejects(files.remove("", "a", { ifMatch: sha256Of(other) }), {
      reason: "FILE_MISMATCH",
    });
    assert.equal(await refused("a", { ifMatch: file.sha256 }), "taken");
    assert.equal(await files.remove("", "missing"), false);
  });

  it("removes the files of a record in the write that deletes it", async () => {
    await using fixture = await Fixture.open();
    const { store } = fixture;
    await fixture.createRecord("ada");
    const file = await fixture.put("a", randomBytes(10), { owner: "ada" });
    await fixture.put("b", randomBytes(10), { owner: "ada" });
    await fixture.put("a", randomBytes(10));
    await store.write({ steps: [{ kind: "delete", id: "ada" }] });
    assert.equal(await store.files.stat("ada", "a"), undefined);
    assert.deepEqual(await store.files.stats(), { count: 1n, bytes: 10n });
    await eventually("its content is gone", async () => (await fixture.contents()).length === 1);
    await fixture.createRecord("ada");
    assert.equal(await store.files.stat("ada", "a"), undefined, file.sha256);
  });

  it("hides the files of a record whose time has come", async () => {
    await using fixture = await Fixture.open();
    const { store } = fixture;
    await fixture.createRecord("brief", BigInt(Date.now() + 300) * 1000n);
    await fixture.put("a", randomBytes(10), { owner: "brief" });
    await eventually(
      "the record expires",
      async () => (await store.files.stat("brief", "a")) === undefined,
    );
    const query = { owner: "brief", prefix: "", after: undefined, limit: 10 };
    assert.deepEqual((await store.files.list(query)).files, []);
    await assert.rejects(fixture.put("b", randomBytes(10), { owner: "brief" }), {
      reason: "RECORD_NOT_FOUND",
    });
  });

  it("lists names with a prefix, page by page, in order of their bytes", async () => {
    await using fixture = await Fixture.open();
    const { files } = fixture.store;
    const names = ["a", "a/b", "a/c", "a0", "b", "\u{10000}", "\uffff", "z"];
    for (const name of names) await fixture.put(name, Buffer.from(name));
    const list = async (prefix: string, limit: number): Promise<string[]> => {
      const found: string[] = [];
      let after: string | undefined;
      do {
        const page = await files.list({ owner: "", prefix, after, limit });
        assert.ok(page.files.length <= limit);
        found.push(...page.files.map(({ name }) => name));
        after = page.next;
      } while (after !== undefined);
      return found;
    };
    const inOrder = [...names].sort((one, other) =>
      Buffer.compare(Buffer.from(one), Buffer.from(other)),
    );
    for (const limit of [1, 2, 3, 100]) {
      assert.deepEqual(await list("", limit), inOrder);
      assert.deepEqual(await list("a/", limit), ["a/b", "a/c"]);
      assert.deepEqual(await list("a", limit), ["a", "a/b", "a/c", "a0"]);
      assert.deepEqual(await list("nothing", limit), []);
    }
  });

  it("reads a file to its end though it is removed and swept meanwhile", async () => {
    await using fixture = await Fixture.open();
    const { files } = fixture.store;
    const content = randomBytes(2_000_000);
    const file = await fixture.put("a", content);
    const chunks: Uint8Array[] = [];
    for await (const chunk of files.read(file.sha256, { offset: 0n, length: file.sizeBytes })) {
      chunks.push(chunk);
      if (chunks.length > 1) continue;
      await files.remove("", "a");
      await files.sweep();
      await eventually("the content is gone", async () => (await fixture.contents()).length === 0);
    }
    assert.deepEqual(Buffer.concat(chunks), content);
    const again = files.read(file.sha256, { offset: 0n, length: 1n })[Symbol.asyncIterator]();
    await assert.rejects(async () => again.next(), { reason: "STORAGE_CORRUPT" });
  });

  it("never loses content that is put while the same content is swept", async () => {
    await using fixture = await Fixture.open();
    const { files } = fixture.store;
    const contents = [Buffer.from("one"), Buffer.from("two")];
    const work = async (worker: number) => {
      for (let round = 0; round < 40; round += 1) {
        const content = contents[(round + worker) % 2] ?? Buffer.alloc(0);
        const name = `${worker}-${round % 3}`;
        const file = await fixture.put(name, content);
        assert.deepEqual(await contentOf(fixture.store, file), content);
        if (round % 2 === 0) await files.remove("", name);
      }
    };
    const sweeping = { isOver: false };
    const sweep = async () => {
      while (!sweeping.isOver) {
        await files.sweep();
        await sleep(1);
      }
    };
    const sweeper = sweep();
    try {
      await Promise.all([0, 1, 2, 3, 4, 5].map(work));
    } finally {
      sweeping.isOver = true;
      await sweeper;
    }
    const { files: left } = await files.list({
      owner: "",
      prefix: "",
      after: undefined,
      limit: 100,
    });
    for (const file of left) {
      assert.equal(sha256Of(await contentOf(fixture.store, file)), file.sha256);
    }
    for (const { name } of left) await files.remove("", name);
    await files.sweep();
    await eventually("all is swept", async () => (await fixture.contents()).length === 0);
  });

  it("clears up what a crash has left, when it is first used", async () => {
    await using fixture = await Fixture.open();
    const kept = await fixture.put("a", randomBytes(10));
    await fixture.engine.close();
    const orphan = sha256Of(Buffer.from("orphan"));
    await mkdir(join(fixture.path, "files", orphan.slice(0, 2)), { recursive: true });
    await writeFile(join(fixture.path, "files", orphan.slice(0, 2), orphan), "orphan");
    await writeFile(join(fixture.path, "uploads", "half"), "half");
    await fixture.start();
    assert.deepEqual(await fixture.store.files.stat("", "a"), kept);
    await eventually("only what has a name is left", async () => {
      const [only, ...others] = await fixture.contents();
      return only === kept.sha256 && others.length === 0 && (await fixture.uploads()).length === 0;
    });
  });

  it("leaves nothing of an upload that is given up", async () => {
    await using fixture = await Fixture.open();
    const { files } = fixture.store;
    {
      await using upload = await files.begin();
      await upload.write(randomBytes(600_000));
      assert.equal((await fixture.uploads()).length, 1);
    }
    {
      await using upload = await files.begin();
      await upload.write(randomBytes(1000));
      await upload.finish();
    }
    assert.deepEqual(await fixture.uploads(), []);
    assert.deepEqual(await fixture.contents(), []);
  });

  it("refuses uploads on a disk down to its reserve, and lets files be removed", async () => {
    await using fixture = await Fixture.open();
    const file = await fixture.put("a", randomBytes(10));
    await fixture.engine.close();
    const limits = { ...defaultLimits, diskReserveBytes: Number.MAX_SAFE_INTEGER };
    await using engine = await SqliteEngine.open({ dataFolder: fixture.folder, limits });
    const { files } = engine.store(location);
    await assert.rejects(files.begin(), { reason: "DISK_FULL", retryAfterMs: 1000 });
    assert.deepEqual(await files.stat("", "a"), file);
    assert.equal(await files.remove("", "a"), true);
    await eventually("the content is gone", async () => (await fixture.contents()).length === 0);
  });

  it("says that data is damaged if content is missing or cut", async () => {
    await using fixture = await Fixture.open();
    const file = await fixture.put("a", randomBytes(1000));
    const path = join(fixture.path, "files", file.sha256.slice(0, 2), file.sha256);
    await writeFile(path, (await readFile(path)).subarray(0, 10));
    await assert.rejects(contentOf(fixture.store, file), { reason: "STORAGE_CORRUPT" });
    await rm(path);
    await assert.rejects(contentOf(fixture.store, file), { reason: "STORAGE_CORRUPT" });
  });

  it("takes everything along when the store is dropped, uploads under way included", async () => {
    await using fixture = await Fixture.open();
    const { files } = fixture.store;
    await fixture.put("a", randomBytes(10));
    await using upload = await files.begin();
    await upload.write(randomBytes(300_000));
    await fixture.engine.drop(location);
    await assert.rejects(upload.write(randomBytes(300_000)), { reason: "COLLECTION_NOT_FOUND" });
    assert.deepEqual(await readdir(join(fixture.folder, "stores")), []);
  });

  it("works the same on a store of relaxed durability", async () => {
    await using fixture = await Fixture.open({ durability: "relaxed" });
    await fixture.put("a", randomBytes(10));
    await fixture.store.files.remove("", "a");
    await eventually("the content is gone", async () => (await fixture.contents()).length === 0);
  });
});
