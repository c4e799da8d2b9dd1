import { mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../../../lib/clock.ts";
import { removeFolder } from "../../../lib/remove-folder.ts";
import type { StoreLocation } from "../../record-store.ts";
import type { CopyExpectation, CopyOptions, RecordCheck, StoreIntake } from "../../store-copies.ts";
import { hasCode, syncPath } from "../file-sync.ts";
import { contentFolderName } from "../files/content-folder.ts";
import type { StoreFolders } from "../store-folders.ts";
import { dataFileName, storeKeyOf } from "../store-paths.ts";
import { translateError } from "../translate-error.ts";
import type { CopyProcesses } from "./copy-processes.ts";

export interface SqliteIntakeOptions {
  readonly folders: StoreFolders;
  readonly clock: Clock;
  readonly processes: CopyProcesses;
}

/** Contents that are synced at a time. */
const syncsAtOnce = 8;

/** A store on its way in, in a folder that a crash leaves to the next start to remove. */
export class SqliteIntake implements StoreIntake {
  readonly dataPath: string;
  readonly contentsFolder: string;
  readonly #root: string;
  readonly #options: SqliteIntakeOptions;
  #isComplete = false;

  private constructor(root: string, options: SqliteIntakeOptions) {
    this.#root = root;
    this.dataPath = join(root, dataFileName);
    this.contentsFolder = join(root, contentFolderName);
    this.#options = options;
  }

  static async open(options: SqliteIntakeOptions): Promise<SqliteIntake> {
    const root = options.folders.newPath();
    try {
      await mkdir(join(root, contentFolderName), { recursive: true });
    } catch (error) {
      throw translateError(error);
    }
    return new SqliteIntake(root, options);
  }

  check(
    expected: CopyExpectation,
    record: RecordCheck | undefined,
    options: CopyOptions = {},
  ): Promise<readonly string[]> {
    const { clock, processes } = this.#options;
    const { contents: list, ...facts } = expected;
    const contents = list === undefined ? undefined : { digests: list.digests, sizes: list.sizes };
    const job = {
      kind: "check",
      path: this.dataPath,
      expected: { ...facts, contents },
      record,
      nowUs: clock.nowUs(),
    } as const;
    return processes.run(job, options);
  }

  async complete(location: StoreLocation): Promise<void> {
    await this.#options.processes.run({ kind: "complete", path: this.dataPath }, {});
    try {
      await this.#syncContents();
      await syncPath(this.#root);
    } catch (error) {
      throw translateError(error);
    }
    await this.#options.folders.adopt(this.#root, storeKeyOf(location));
    this.#isComplete = true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isComplete) return;
    try {
      await removeFolder(this.#root);
    } catch (error) {
      // What cannot be removed now goes at the next start.
      if (!hasCode(error, "ENOTEMPTY", "EBUSY", "EIO")) throw translateError(error);
    }
  }

  async #syncContents(): Promise<void> {
    const root = this.contentsFolder;
    for (const prefix of await readdir(root)) {
      const folder = join(root, prefix);
      const names = await readdir(folder);
      for (let from = 0; from < names.length; from += syncsAtOnce) {
        const some = names.slice(from, from + syncsAtOnce);
        await Promise.all(some.map((name) => syncPath(join(folder, name))));
      }
      await syncPath(folder);
    }
    await syncPath(root);
  }
}
