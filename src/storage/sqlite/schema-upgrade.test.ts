import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describe, it } from "node:test";
import { type SchemaUpgrade, upgradeSchema } from "./schema-upgrade.ts";

const addB: SchemaUpgrade = { from: 1n, apply: (db) => db.exec("ALTER TABLE t ADD COLUMN b") };
const addC: SchemaUpgrade = { from: 2n, apply: (db) => db.exec("ALTER TABLE t ADD COLUMN c") };
const fails: SchemaUpgrade = {
  from: 2n,
  apply: () => {
    throw new Error("cannot");
  },
};

describe("upgradeSchema", () => {
  it("runs all upgrades in one transaction and keeps a copy of the old file", async () => {
    const folder = await mkdtemp(join(tmpdir(), "collector-schema-"));
    const path = join(folder, "data.sqlite");
    const db = new DatabaseSync(path, { readBigInts: true });
    const columns = (of: DatabaseSync): number =>
      of.prepare("SELECT name FROM pragma_table_info('t')").all().length;
    const version = (of: DatabaseSync): unknown =>
      of.prepare("PRAGMA user_version").get()?.["user_version"];
    try {
      db.exec("PRAGMA journal_mode = WAL; CREATE TABLE t (a); PRAGMA user_version = 1");
      assert.throws(() => upgradeSchema(db, path, [addB, fails], 3n), /cannot/);
      assert.deepEqual([columns(db), version(db)], [1, 1n]);
      upgradeSchema(db, path, [addB, addC], 3n);
      assert.deepEqual([columns(db), version(db)], [3, 3n]);
      upgradeSchema(db, path, [addB, addC], 3n);
      assert.equal(existsSync(`${path}.v3`), false);
      const copy = new DatabaseSync(`${path}.v1`, { readBigInts: true });
      assert.deepEqual([columns(copy), version(copy)], [1, 1n]);
      copy.close();
      assert.throws(() => upgradeSchema(db, path, [addB], 2n), { reason: "STORAGE_UNAVAILABLE" });
    } finally {
      db.close();
      await rm(folder, { recursive: true });
    }
  });

  it("tells a store of a pre-release from a damaged one", () => {
    const db = new DatabaseSync(":memory:", { readBigInts: true });
    try {
      db.exec("PRAGMA user_version = 1");
      assert.throws(() => upgradeSchema(db, ":memory:"), {
        reason: "STORAGE_UNAVAILABLE",
        message: /made by a pre-release/,
      });
      db.exec("PRAGMA user_version = 0");
      assert.throws(() => upgradeSchema(db, ":memory:"), { reason: "STORAGE_CORRUPT" });
    } finally {
      db.close();
    }
  });
});
