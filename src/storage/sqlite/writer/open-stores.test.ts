import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { CollectorError } from "../../../errors.ts";
import { defaultLimits } from "../../../lib/limits.ts";
import { peopleLayout } from "../../testing/engine-harness.ts";
import { createStoreFolder } from "../create-store.ts";
import type { WriterReport } from "./messages.ts";
import { OpenStores } from "./open-stores.ts";

interface Opened extends AsyncDisposable {
  readonly stores: OpenStores;
  readonly reports: readonly WriterReport[];
}

async function openStores(openStoresMax: number, keys: readonly string[]): Promise<Opened> {
  const storesFolder = await mkdtemp(join(tmpdir(), "collector-open-"));
  for (const key of keys) createStoreFolder(join(storesFolder, key), peopleLayout);
  const reports: WriterReport[] = [];
  const options = { storesFolder, limits: defaultLimits, openStoresMax };
  const stores = new OpenStores(
    options,
    (report) => reports.push(report),
    () => undefined,
  );
  return {
    stores,
    reports,
    async [Symbol.asyncDispose]() {
      stores.closeAll();
      await rm(storesFolder, { recursive: true });
    },
  };
}

describe("OpenStores", () => {
  it("takes a failed store out of use until the others have let go of it and it is in order", async () => {
    await using opened = await openStores(2, ["a"]);
    const { stores, reports } = opened;
    const before = stores.use("a");
    stores.fail("a", new CollectorError("WRITE_OUTCOME_UNKNOWN", "the disk failed"));
    assert.deepEqual(
      reports.map((report) => (report.kind === "log" ? report.level : report.kind)),
      ["error", "release"],
    );
    assert.throws(() => stores.use("a"), { reason: "STORAGE_UNAVAILABLE", retryAfterMs: 500 });
    stores.recover("a");
    assert.equal(before.db.isOpen, false);
    assert.notEqual(stores.use("a"), before);
  });

  it("closes the one that was not used for longest", async () => {
    await using opened = await openStores(2, ["a", "b", "c"]);
    const { stores } = opened;
    const [a, b] = [stores.use("a"), stores.use("b")];
    assert.equal(stores.use("a"), a);
    stores.use("c");
    assert.deepEqual([a.db.isOpen, b.db.isOpen], [true, false]);
  });

  it("opens a damaged store anew rather than put it in order", async () => {
    await using opened = await openStores(2, ["a"]);
    const { stores, reports } = opened;
    stores.use("a");
    stores.fail("a", new CollectorError("STORAGE_CORRUPT", "damaged"));
    assert.equal(
      reports.some(({ kind }) => kind === "release"),
      false,
    );
    assert.equal(stores.use("a").db.isOpen, true);
  });
});
