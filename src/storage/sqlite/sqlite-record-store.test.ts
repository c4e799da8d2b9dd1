import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { defaultLimits } from "../../lib/limits.ts";
import type { StorageEngine } from "../record-store.ts";
import { describeRecordStore } from "../testing/record-store-contract.ts";
import { SqliteEngine } from "./sqlite-engine.ts";

describeRecordStore("SQLite", async (): Promise<StorageEngine> => {
  const dataFolder = await mkdtemp(join(tmpdir(), "collector-store-"));
  const engine = await SqliteEngine.open({ dataFolder, limits: defaultLimits });
  const close = engine.close.bind(engine);
  return Object.assign(engine, {
    [Symbol.asyncDispose]: async () => {
      await close();
      await rm(dataFolder, { recursive: true });
    },
  });
});
