import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { CollectorError } from "../../../errors.ts";
import type { Clock } from "../../../lib/clock.ts";
import type {
  FileCondition,
  FilePage,
  FileStats,
  FileUpload,
  StoredFile,
  StoreFiles,
} from "../../store-files.ts";
import type { ReadHandle } from "../point-reads.ts";
import type { StoreGate } from "../store-gate.ts";
import { diskFull, translateError } from "../translate-error.ts";
import type { DiskReserve } from "../writer/disk-reserve.ts";
import type { WriterPool } from "../writer/writer-pool.ts";
import { bringContents } from "./bring-contents.ts";
import { ContentFolder } from "./content-folder.ts";
import { readContent } from "./content-reader.ts";
import { ContentUpload } from "./content-upload.ts";
import { findFile, garbageIn, isNamed, listFiles, readFileStats } from "./file-reads.ts";

export interface SqliteStoreFilesOptions {
  readonly storesFolder: string;
  readonly key: string;
  readonly gate: StoreGate;
  readonly clock: Clock;
  readonly writers: WriterPool;
  readonly reserve: DiskReserve;
  /** Reads the store on the event loop. */
  readonly read: <T>(read: (handle: ReadHandle) => T) => Promise<T>;
}

/** How soon content goes that has lost its last name, in ms: several deletes are one sweep. */
const sweepAfterMs = 300;

/** Names that a writer is told of at a time. */
const filesPerTask = 1000;

/** Contents that are looked at between two breaths. */
const sweepCount = 200;

/** Refusals after which it is certain that content did not get its name. */
const refusals: ReadonlySet<string> = new Set([
  "RECORD_NOT_FOUND",
  "FILE_EXISTS",
  "FILE_MISMATCH",
  "DISK_FULL",
]);

const nothing: FileStats = { count: 0n, bytes: 0n };

/** The files of one store. There is one of these per store and process: it knows what is under way. */
export class SqliteStoreFiles implements StoreFiles {
  readonly #options: SqliteStoreFilesOptions;
  readonly #content: ContentFolder;
  #opened: Promise<void> | undefined;
  #sweeping: Promise<FileStats> | undefined;
  #isSweepDue = false;

  constructor(options: SqliteStoreFilesOptions) {
    this.#options = options;
    this.#content = new ContentFolder(join(options.storesFolder, options.key));
  }

  begin(): Promise<FileUpload> {
    const { gate, reserve } = this.#options;
    return gate.use(async () => {
      await this.#open();
      try {
        if (reserve.low) throw diskFull();
        const content = this.#content;
        const { path, handle } = await content.newUpload();
        const onUnused = (sha256: string): void => void this.#reconsider([sha256]);
        return new ContentUpload({ content, path, handle, gate, reserve, onUnused });
      } catch (error) {
        throw translateError(error);
      }
    });
  }

  put(
    upload: FileUpload,
    file: Pick<StoredFile, "owner" | "name" | "contentType">,
    condition: FileCondition = {},
  ): Promise<StoredFile> {
    const { gate, writers, key, clock } = this.#options;
    if (!(upload instanceof ContentUpload)) {
      throw new CollectorError("INTERNAL", "an upload of another store was put");
    }
    return gate.use(async () => {
      await upload.adopt();
      const { sha256, sizeBytes } = upload;
      try {
        const stored = await writers.run(key, {
          task: "putFile",
          storeKey: key,
          file: { ...file, sha256, sizeBytes },
          condition,
          nowUs: clock.nowUs(),
        });
        upload.noteNamed();
        this.noteRemoved();
        return stored;
      } catch (error) {
        const isRefused = error instanceof CollectorError && refusals.has(error.reason);
        if (!isRefused) upload.noteNamed();
        throw error;
      }
    });
  }

  stat(owner: string, name: string): Promise<StoredFile | undefined> {
    return this.#read((handle) => findFile(handle, owner, name, this.#options.clock.nowUs()));
  }

  list(query: {
    readonly owner: string;
    readonly prefix: string;
    readonly after: string | undefined;
    readonly limit: number;
  }): Promise<FilePage> {
    return this.#read((handle) => listFiles(handle, query, this.#options.clock.nowUs()));
  }

  async remove(
    owner: string,
    name: string,
    { ifMatch }: Pick<FileCondition, "ifMatch"> = {},
  ): Promise<boolean> {
    const { gate, writers, key } = this.#options;
    const task = { task: "removeFile", storeKey: key, owner, name, ifMatch } as const;
    const isRemoved = await gate.use(() => writers.run(key, task));
    if (isRemoved) this.noteRemoved();
    return isRemoved;
  }

  read(
    sha256: string,
    range: { readonly offset: bigint; readonly length: bigint },
  ): AsyncIterable<Uint8Array> {
    const end = range.offset + range.length;
    const open = () => this.#options.gate.use(() => this.#content.open(sha256, end));
    return readContent(open, range);
  }

  stats(): Promise<FileStats> {
    return this.#read(readFileStats);
  }

  async replaceAll(
    files: readonly StoredFile[],
    contentOf: (sha256: string) => string | undefined,
  ): Promise<void> {
    const { gate, writers, key, reserve } = this.#options;
    await gate.use(async () => {
      await this.#open();
      if (reserve.low) throw diskFull();
      using pins = new DisposableStack();
      await bringContents({ content: this.#content, files, contentOf, pins, signal: gate.ending });
      for (let from = 0; from === 0 || from < files.length; from += filesPerTask) {
        const some = files.slice(from, from + filesPerTask);
        await writers.run(key, { task: "stageFiles", storeKey: key, from, files: some });
      }
      await writers.run(key, { task: "replaceFiles", storeKey: key, count: files.length });
    });
    this.noteRemoved();
  }

  async sweep(): Promise<FileStats> {
    await this.#open();
    return this.#sweepOnce(true);
  }

  /** Keeps all content from being removed, until the result is disposed: for a copy, before its moment. */
  hold(): Disposable {
    return this.#content.hold((sha256s) => void this.#reconsider(sha256s));
  }

  /** Where contents are. */
  get contentsFolder(): string {
    return this.#content.contentsFolder;
  }

  /** Some files may have gone: their content follows soon. */
  noteRemoved(): void {
    if (this.#options.gate.ending.aborted) return;
    if (this.#isSweepDue) return;
    this.#isSweepDue = true;
    setTimeout(() => {
      this.#isSweepDue = false;
      // What could not be removed is found by the next sweep, or the first one after a start.
      this.#sweepOnce(false).catch(() => undefined);
    }, sweepAfterMs).unref();
  }

  async #read<T>(read: (handle: ReadHandle) => T): Promise<T> {
    this.#open().catch(() => undefined);
    return this.#options.read(read);
  }

  /** Clears up behind a crash, once: uploads at once, content without a name in the background. */
  #open(): Promise<void> {
    if (this.#opened === undefined) {
      const opened = this.#options.gate.use(() => this.#content.clearUploads());
      this.#opened = opened.catch((error: unknown) => {
        this.#opened = undefined;
        throw translateError(error);
      });
      this.#opened.then(() => this.#sweepOnce(true)).catch(() => undefined);
    }
    return this.#opened;
  }

  /** @param all looks at all content there is, not only at what has lost a name */
  async #sweepOnce(all: boolean): Promise<FileStats> {
    while (this.#sweeping !== undefined) await this.#sweeping.catch(() => undefined);
    this.#sweeping = this.#options.gate
      .use(() => this.#sweep(all))
      .finally(() => {
        this.#sweeping = undefined;
      });
    return this.#sweeping;
  }

  async #sweep(all: boolean): Promise<FileStats> {
    let swept = await this.#sweepGarbage();
    if (!all) return swept;
    let isSettled = false;
    for await (const found of this.#content.all()) {
      if (found.length > 0 && !isSettled) {
        await this.#settle([]);
        isSettled = true;
      }
      for (let from = 0; from < found.length; from += sweepCount) {
        if (this.#options.gate.ending.aborted) return swept;
        swept = sum(swept, await this.#removeUnnamed(found.slice(from, from + sweepCount)));
        await setImmediate();
      }
    }
    return swept;
  }

  async #sweepGarbage(): Promise<FileStats> {
    let swept = nothing;
    for (;;) {
      const found = await this.#options.read((handle) => garbageIn(handle, sweepCount));
      // What is pinned is looked at by its upload if it gets no name.
      if (found.length === 0 || this.#options.gate.ending.aborted) return swept;
      await this.#settle(found);
      swept = sum(swept, await this.#removeUnnamed(found));
      await setImmediate();
    }
  }

  /** Sees to it that names which are gone stay gone, before their content goes. */
  async #settle(sha256s: readonly string[]): Promise<void> {
    const { writers, key } = this.#options;
    await writers.run(key, { task: "clearGarbage", storeKey: key, sha256s });
  }

  async #removeUnnamed(sha256s: readonly string[]): Promise<FileStats> {
    let swept = nothing;
    for (const sha256 of sha256s) {
      try {
        const bytes = await this.#options.read((handle) =>
          isNamed(handle, sha256) ? undefined : this.#content.remove(sha256),
        );
        if (bytes !== undefined) swept = sum(swept, { count: 1n, bytes });
      } catch (error) {
        throw translateError(error);
      }
    }
    return swept;
  }

  /** An upload has given up content that it had already put in place, or a copy has let go of some. */
  async #reconsider(sha256s: readonly string[]): Promise<void> {
    try {
      await this.#options.gate.use(() => this.#removeUnnamed(sha256s));
    } catch {
      // The first sweep after the next start finds it.
    }
  }
}

function sum(one: FileStats, other: FileStats): FileStats {
  return { count: one.count + other.count, bytes: one.bytes + other.bytes };
}
