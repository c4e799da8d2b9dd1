import { rm, stat } from "node:fs/promises";
import { ContentList } from "../../../lib/content-list.ts";
import type { SnapshotOptions, StoreSnapshot } from "../../store-copies.ts";
import type { SqliteStoreFiles } from "../files/sqlite-store-files.ts";
import { translateError } from "../translate-error.ts";
import type { SnapshotFacts } from "./copy-jobs.ts";
import type { CopyProcesses } from "./copy-processes.ts";
import { followGrowth } from "./paced-sync.ts";
import { mayWaitForDisk, writeOutLater } from "./write-out.ts";

/** Copies a store. What it has of files stays in the store until the copy is disposed. */
export async function snapshotStore(
  source: {
    readonly path: string;
    readonly sizeBytes: bigint;
    readonly files: SqliteStoreFiles;
    readonly nowUs: bigint;
    readonly processes: CopyProcesses;
  },
  { path, files, isTransient = false, signal, onProgress }: SnapshotOptions,
): Promise<StoreSnapshot> {
  // Before the moment of the copy, so that all contents of that moment stay.
  const held = files ? source.files.hold() : undefined;
  try {
    const onSize = (done: bigint): void => onProgress?.({ done, total: source.sizeBytes });
    const { nowUs } = source;
    const job = { kind: "snapshot", source: source.path, target: path, files, nowUs } as const;
    const isSynced = !isTransient || !mayWaitForDisk(source.sizeBytes);
    const copying = async (): Promise<SnapshotFacts> => {
      await using _growth = followGrowth(path, { isSynced, onSize });
      return await source.processes.run(job, { signal });
    };
    const { contents, ...facts } = await copying();
    const { size } = await stat(path);
    const writingOut = isSynced ? undefined : writeOutLater(path);
    const list = new ContentList(contents.digests, contents.sizes);
    return {
      ...facts,
      dataBytes: BigInt(size),
      contents: { list, folder: source.files.contentsFolder },
      async [Symbol.asyncDispose]() {
        try {
          await writingOut?.[Symbol.asyncDispose]();
        } catch (error) {
          throw translateError(error);
        } finally {
          held?.[Symbol.dispose]();
        }
      },
    };
  } catch (error) {
    held?.[Symbol.dispose]();
    await rm(path, { force: true });
    await rm(`${path}-journal`, { force: true });
    if (signal?.aborted === true) throw signal.reason;
    throw translateError(error);
  }
}
