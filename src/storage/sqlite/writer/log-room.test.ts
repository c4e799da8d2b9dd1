import assert from "node:assert/strict";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describe, it } from "node:test";
import { tempFolder } from "../../../../test/support/temp-folder.ts";
import { LogRoom } from "./log-room.ts";

const mib = 1024 * 1024;

describe("LogRoom", () => {
  it("gives back what a log has grown to in steps, one whenever it starts over, and keeps some of it", async () => {
    await using folder = await tempFolder("log-room");
    const path = join(folder.path, "db");
    const db = new DatabaseSync(path, { readBigInts: true });
    try {
      db.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; PRAGMA wal_autocheckpoint = 0");
      db.exec("CREATE TABLE data (bytes BLOB)");
      const room = new LogRoom(db);
      const insert = db.prepare("INSERT INTO data VALUES (zeroblob(1000000))");
      const write = (): void => {
        insert.run();
        const size = db.prepare("PRAGMA wal_checkpoint(NOOP)").get();
        room.note(size?.["log"] as bigint);
      };
      const startOver = async (): Promise<number> => {
        db.prepare("PRAGMA wal_checkpoint(PASSIVE)").get();
        write();
        return (await stat(`${path}-wal`)).size;
      };
      for (let count = 0; count < 180; count += 1) write();
      const sizes = [(await stat(`${path}-wal`)).size];
      assert.ok((sizes[0] ?? 0) > 170 * mib);
      for (let time = 0; time < 12; time += 1) sizes.push(await startOver());
      for (const [at, size] of sizes.entries()) {
        const given = (sizes[at - 1] ?? size) - size;
        assert.ok(given >= 0 && given <= 32 * mib, `${given} bytes at once`);
      }
      assert.equal(sizes.at(-1), 64 * mib);
      // A log that does not start over gives back nothing, and may grow again.
      for (let count = 0; count < 120; count += 1) write();
      assert.ok((await stat(`${path}-wal`)).size > 110 * mib);
      assert.ok((await startOver()) > 80 * mib);
    } finally {
      db.close();
    }
  });
});
