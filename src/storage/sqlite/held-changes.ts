import type { CopyProgress, HeldContents, StoreChange, StoreChanges } from "../store-copies.ts";
import type { FileStats, StoredFile } from "../store-files.ts";
import type { DeltaReading } from "./reader/delta-reading.ts";

export interface HeldChangesOptions {
  readonly delta: DeltaReading;
  readonly contents: HeldContents;
  /** What keeps the contents. */
  readonly held: Disposable | undefined;
  readonly onProgress: ((progress: CopyProgress) => void) | undefined;
}

/**
 * What has changed in a store, with the contents of its files, which stay until this is disposed. The moment
 * itself is let go of as soon as all changes are read.
 */
export class HeldChanges implements StoreChanges {
  readonly contents: HeldContents;
  readonly #delta: DeltaReading;
  readonly #held: Disposable | undefined;
  readonly #onProgress: HeldChangesOptions["onProgress"];
  #doneBytes = 0n;
  #isAtEnd = false;

  constructor({ delta, contents, held, onProgress }: HeldChangesOptions) {
    this.contents = contents;
    this.#delta = delta;
    this.#held = held;
    this.#onProgress = onProgress;
  }

  get format(): string {
    return this.#delta.format;
  }

  get revision(): bigint {
    return this.#delta.revision;
  }

  get incarnation(): string {
    return this.#delta.incarnation;
  }

  get recordCount(): bigint {
    return this.#delta.recordCount;
  }

  get files(): FileStats {
    return this.#delta.files;
  }

  get names(): readonly StoredFile[] {
    return this.#delta.names;
  }

  async next(): Promise<readonly StoreChange[] | undefined> {
    if (this.#isAtEnd) return undefined;
    const changes = await this.#delta.next();
    if (changes === undefined) {
      this.#isAtEnd = true;
      await this.#delta[Symbol.asyncDispose]();
      return undefined;
    }
    for (const change of changes) {
      if (change.kind === "written") this.#doneBytes += BigInt(change.data.byteLength);
    }
    this.#onProgress?.({ done: this.#doneBytes, total: 0n });
    return changes;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#delta[Symbol.asyncDispose]();
    this.#held?.[Symbol.dispose]();
  }
}
