import { join } from "node:path";
import type { Limits } from "../../../lib/limits.ts";
import type { Log } from "../../../lib/log.ts";
import type { ReadOptions } from "../../record-store.ts";
import { openForReading } from "../connection.ts";
import { dataFileName } from "../store-paths.ts";
import { translateError } from "../translate-error.ts";
import { type ReaderQuery, type ReaderResult, runQuery } from "./queries.ts";

export interface ReaderPoolOptions {
  readonly storesFolder: string;
  readonly limits: Limits;
  readonly log: Log;
}

export class ReaderPool {
  readonly #options: ReaderPoolOptions;

  constructor(options: ReaderPoolOptions) {
    this.#options = options;
  }

  async run<Q extends ReaderQuery>(
    storeKey: string,
    query: Q,
    _options: ReadOptions = {},
  ): Promise<ReaderResult & { kind: Q["kind"] }> {
    try {
      const db = openForReading(join(this.#options.storesFolder, storeKey, dataFileName));
      try {
        db.function("alive", () => 1);
        return runQuery(db, query) as ReaderResult & { kind: Q["kind"] };
      } finally {
        db.close();
      }
    } catch (error) {
      throw translateError(error);
    }
  }

  async release(_storeKey: string): Promise<void> {}

  async close(): Promise<void> {}
}
