import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { StoredFile } from "../store-files.ts";
import { filesOf, pathIn, putFile, readText, reasonOf, twoStores } from "./copied-stores.ts";
import { createStep, type OpenHarness, openPeople, peopleLayout } from "./engine-harness.ts";

const ids = ["a"];

/** What every engine must do to replace all files of a store. */
export function describeFileReplacement(engineName: string, open: OpenHarness): void {
  describe(`RecordStore on ${engineName}: files that are replaced`, () => {
    it("has these files and no others, with contents from elsewhere", async () => {
      await using harness = await open();
      const [source, copy] = await twoStores(harness.engine, peopleLayout);
      for (const store of [source, copy]) await store.write({ steps: [createStep("a")] });
      await putFile(source, "a", "one", "text");
      await putFile(source, "", "two", "text");
      await putFile(source, "", "empty", "");
      await putFile(copy, "", "two", "old");
      const old = await copy.files.stat("", "two");
      await putFile(copy, "", "gone", "only here");
      await using changes = await source.changesSince(0n, { files: true });
      await copy.files.replaceAll(changes.names, pathIn(changes));
      assert.deepEqual(await filesOf(copy, ids), await filesOf(source, ids));
      assert.deepEqual(await copy.files.stats(), { count: 3n, bytes: 8n });
      await copy.files.sweep();
      assert(old !== undefined);
      assert.equal(await reasonOf(readText(copy, old)), "STORAGE_CORRUPT");
      await copy.files.replaceAll([], () => undefined);
      assert.deepEqual(await copy.files.stats(), { count: 0n, bytes: 0n });
      assert.equal((await filesOf(source, ids)).length, 3);
    });

    it("has content that lost its last name until nobody holds it any more", async () => {
      await using opened = await openPeople(open);
      const { files } = opened.store;
      await putFile(opened.store, "", "one", "text");
      const file = await files.stat("", "one");
      assert(file !== undefined);
      const held = files.hold();
      await files.replaceAll([], () => undefined);
      await files.sweep();
      await files.replaceAll([file], () => undefined);
      assert.equal(await readText(opened.store, file), "text");
      await files.replaceAll([], () => undefined);
      held[Symbol.dispose]();
      await files.sweep();
      assert.equal(await reasonOf(readText(opened.store, file)), "STORAGE_CORRUPT");
    });

    it("takes more files than are told of at a time", async () => {
      await using opened = await openPeople(open);
      const { store } = opened;
      await putFile(store, "", "one", "text");
      const file = await store.files.stat("", "one");
      assert(file !== undefined);
      const many = Array.from({ length: 2500 }, (_, at) => ({ ...file, name: `${at}` }));
      await store.files.replaceAll(many, () => undefined);
      assert.deepEqual(await store.files.stats(), { count: 2500n, bytes: 10_000n });
      assert.equal(await store.files.stat("", "one"), undefined);
      assert.equal((await store.files.stat("", "2499"))?.createdUs, file.createdUs);
    });

    it("refuses content that is missing or of another size, and owners that are no record", async () => {
      await using harness = await open();
      const [source, copy] = await twoStores(harness.engine, peopleLayout);
      await putFile(source, "", "one", "text");
      await putFile(copy, "", "mine", "mine");
      const before = await filesOf(copy, ids);
      await using changes = await source.changesSince(0n, { files: true });
      const [file] = changes.names;
      assert(file !== undefined);
      const path = pathIn(changes);
      const refused: [StoredFile[], typeof path][] = [
        [[file], () => undefined],
        [[file], () => "/nowhere/at/all"],
        [[{ ...file, sizeBytes: 5n }], path],
        [[{ ...file, owner: "nobody" }], path],
        [[file, file], path],
      ];
      for (const [files, contentOf] of refused) {
        assert.equal(await reasonOf(copy.files.replaceAll(files, contentOf)), "CONTENT_MISMATCH");
      }
      assert.deepEqual(await filesOf(copy, ids), before);
    });
  });
}
