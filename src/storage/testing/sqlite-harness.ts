import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { defaultLimits } from "../../lib/limits.ts";
import { SqliteEngine } from "../sqlite/sqlite-engine.ts";
import type { EngineHarness, HarnessOptions } from "./engine-harness.ts";

export interface SqliteHarness extends EngineHarness {
  readonly engine: SqliteEngine;
  readonly dataFolder: string;
}

/** An SQLite engine in a temporary folder. */
export async function openSqliteHarness(options: HarnessOptions = {}): Promise<SqliteHarness> {
  const { limits, ...rest } = options;
  const dataFolder = await mkdtemp(join(tmpdir(), "collector-store-"));
  const open = (): Promise<SqliteEngine> =>
    SqliteEngine.open({ dataFolder, limits: { ...defaultLimits, ...limits }, ...rest });
  let engine = await open();
  return {
    dataFolder,
    get engine() {
      return engine;
    },
    async reopen() {
      await engine.close();
      engine = await open();
    },
    async [Symbol.asyncDispose]() {
      await engine.close();
      await rm(dataFolder, { recursive: true, force: true });
    },
  };
}
