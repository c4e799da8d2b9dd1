import { execFileSync } from "node:child_process";
import { readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { Compression } from "../../src/gen/collector/collection_repo_pb.ts";
import type { BenchServer } from "../bench-server.ts";
import { backUp } from "./mixed-load.ts";

export interface Durations {
  readonly plainMs: readonly number[];
  readonly zstdMs: readonly number[];
  /** Of `cp`, `sync` and `sha256sum` of the same database. */
  readonly copiedMs: readonly number[];
  readonly databaseBytes: number;
}

const script = 'cp --reflink=never "$0" "$1" && sync "$1" && sha256sum "$1" > /dev/null';

/** Backs up a collection that nobody else uses, and copies its database by hand, in turns. */
export async function durations(server: BenchServer, rounds: number): Promise<Durations> {
  const database = await largestStore(server.dataFolder);
  const copy = join(server.dataFolder, "copy-to-compare");
  const result = { plainMs: [] as number[], zstdMs: [] as number[], copiedMs: [] as number[] };
  for (let round = 0; round < rounds; round += 1) {
    const begin = performance.now();
    execFileSync("sh", ["-c", script, database, copy]);
    result.copiedMs.push(performance.now() - begin);
    await rm(copy);
    result.plainMs.push(await backUp(server, Compression.NONE));
    result.zstdMs.push(await backUp(server, Compression.ZSTD));
  }
  return { ...result, databaseBytes: (await stat(database)).size };
}

/** The database of the largest store. */
async function largestStore(dataFolder: string): Promise<string> {
  const folder = join(dataFolder, "stores");
  let largest = { path: "", size: -1 };
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (entry.name !== "data.sqlite") continue;
    const path = join(entry.parentPath, entry.name);
    const { size } = await stat(path);
    if (size > largest.size) largest = { path, size };
  }
  return largest.path;
}
