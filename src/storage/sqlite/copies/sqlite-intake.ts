import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../../../lib/clock.ts";
import type { StoreLocation } from "../../record-store.ts";
import type { CopyExpectation, CopyOptions, RecordCheck, StoreIntake } from "../../store-copies.ts";
import { hasCode, syncPath } from "../file-sync.ts";
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
  readonly #root: string;
  readonly #options: SqliteIntakeOptions;
  readonly #prefixes = new Set<string>();
  #isComplete = false;

  private constructor(root: string, options: SqliteIntakeOptions) {
    this.#root = root;
    this.dataPath = join(root, dataFileName);
    this.#options = options;
  }

  static async open(options: SqliteIntakeOptions): Promise<SqliteIntake> {
    const root = options.folders.newPath();
    try {
      await mkdir(root);
    } catch (error) {
      throw translateError(error);
    }
    return new SqliteIntake(root, options);
  }

  async contentPath(sha256: string): Promise<string> {
    const prefix = sha256.slice(0, 2);
    const folder = join(this.#root, "files", prefix);
    if (!this.#prefixes.has(prefix)) {
      try {
        await mkdir(folder, { recursive: true });
      } catch (error) {
        throw translateError(error);
      }
      this.#prefixes.add(prefix);
    }
    return join(folder, sha256);
  }

  check(
    expected: CopyExpectation,
    record: RecordCheck | undefined,
    options: CopyOptions = {},
  ): Promise<readonly string[]> {
    const { clock, processes } = this.#options;
    const job = {
      kind: "check",
      path: this.dataPath,
      expected,
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
      await rm(this.#root, { recursive: true, force: true });
    } catch (error) {
      // What cannot be removed now goes at the next start.
      if (!hasCode(error, "ENOTEMPTY", "EBUSY", "EIO")) throw translateError(error);
    }
  }

  async #syncContents(): Promise<void> {
    const root = join(this.#root, "files");
    if (this.#prefixes.size === 0) return;
    for (const prefix of this.#prefixes) {
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
