import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { FileCondition, StoredFile } from "../../store-files.ts";
import { contentOf, createStep } from "../../testing/engine-harness.ts";
import { readMeta } from "../schema.ts";
import { putFile, removeFile } from "./file-tasks.ts";
import type { StoreWriter } from "./store-writer.ts";
import { openWriter, runGroup } from "./testing/writer-harness.ts";

const storeKey = "people/1";

function put(
  store: StoreWriter,
  owner: string,
  sha256: string,
  { nowUs = 1n, ...condition }: FileCondition & { readonly nowUs?: bigint } = {},
): StoredFile {
  const contentType = "text/plain";
  const file = { owner, name: "a/b", sha256, sizeBytes: BigInt(sha256.length), contentType };
  return putFile(store, { task: "putFile", storeKey, file, condition, nowUs });
}

function counts(store: StoreWriter): [bigint, bigint] {
  const { fileCount, fileBytes } = readMeta(store.db);
  return [fileCount, fileBytes];
}

describe("the files of a store, in its writer", () => {
  it("gives content a name, in place of what had it, and counts", async () => {
    await using opened = await openWriter();
    const { store } = opened;
    const first = put(store, "", "aa");
    assert.deepEqual([first.createdUs, first.updatedUs], [1n, 1n]);
    const second = put(store, "", "bbb", { nowUs: 2n });
    assert.deepEqual([second.createdUs, second.updatedUs], [1n, 2n]);
    assert.deepEqual(counts(store), [1n, 3n]);
    const remove = { task: "removeFile", storeKey, owner: "", name: "a/b" } as const;
    assert.throws(() => removeFile(store, { ...remove, ifMatch: "aa" }), {
      reason: "FILE_MISMATCH",
    });
    assert.equal(removeFile(store, { ...remove, ifMatch: "bbb" }), true);
    assert.equal(removeFile(store, { ...remove, ifMatch: undefined }), false);
    assert.deepEqual(counts(store), [0n, 0n]);
  });

  it("keeps to its conditions, and changes nothing where they do not hold", async () => {
    await using opened = await openWriter();
    const { store } = opened;
    assert.throws(() => put(store, "", "aa", { ifMatch: "x" }), { reason: "FILE_MISMATCH" });
    put(store, "", "aa", { createOnly: true });
    assert.throws(() => put(store, "", "bbb", { createOnly: true }), { reason: "FILE_EXISTS" });
    assert.throws(() => put(store, "", "bbb", { ifMatch: "x" }), { reason: "FILE_MISMATCH" });
    assert.deepEqual(counts(store), [1n, 2n]);
    put(store, "", "bbb", { ifMatch: "aa" });
    assert.deepEqual(counts(store), [1n, 3n]);
  });

  it("attaches files to records that are there, and removes them with their record", async () => {
    await using opened = await openWriter();
    const { store } = opened;
    const expiring = contentOf({}, { expiresUs: 10n });
    const until = { kind: "create", id: "until", content: expiring, labels: {} } as const;
    const again = { ...until, content: contentOf({}) };
    const replaced = { ...until, id: "replaced" };
    runGroup(store, [[createStep("a"), until, replaced]]);
    for (const owner of ["", "a", "until", "replaced"]) put(store, owner, "aa");
    assert.throws(() => put(store, "nobody", "aa"), { reason: "RECORD_NOT_FOUND" });
    assert.throws(() => put(store, "until", "aa", { nowUs: 10n }), { reason: "RECORD_NOT_FOUND" });
    assert.deepEqual(counts(store), [4n, 8n]);
    runGroup(store, [[{ kind: "delete", id: "a" }]]);
    assert.deepEqual(counts(store), [3n, 6n]);
    runGroup(store, [[{ ...again, id: "replaced" }], [{ kind: "expire", id: "until" }]], {
      nowUs: 10n,
    });
    assert.deepEqual(counts(store), [1n, 2n]);
    const left = store.db.prepare("SELECT owner FROM file").all();
    assert.deepEqual(
      left.map(({ owner }) => owner),
      [""],
    );
  });
});
