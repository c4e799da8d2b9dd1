import type { Limits } from "../../../lib/limits.ts";
import type { LogLevel } from "../../../lib/log.ts";
import type { BuildProgress } from "../../record-store.ts";
import type { FileCondition, StoredFile } from "../../store-files.ts";
import type { StoreLayout, StoreShape } from "../../store-layout.ts";
import type { Failure } from "../failure.ts";
import type { WantedSearch } from "../search-tables.ts";
import type { PackedAnswers } from "./answer-codec.ts";
import type { PackedWrites } from "./write-codec.ts";

/** What a writer thread is started with. */
export interface WriterOptions {
  /** The folder that holds the stores; a store's key is its path in there. */
  readonly storesFolder: string;
  readonly limits: Limits;
  readonly openStoresMax: number;
}

/** A task for a writer thread other than a write. */
export type WriterTask =
  /** Makes the tables of a new store at an absolute path, and puts them on disk. */
  | { readonly task: "create"; readonly path: string; readonly layout: StoreLayout }
  /** Opens a store, and brings it to the current schema if it has an older one. */
  | { readonly task: "open"; readonly storeKey: string }
  /** Closes a store after all writes that came before. */
  | { readonly task: "close"; readonly storeKey: string }
  /** `rebuild`: beside the one that serves, to take its place. */
  | {
      readonly task: "addIndex";
      readonly storeKey: string;
      readonly path: string;
      readonly rebuild: boolean;
    }
  /** `rebuild`: only what is being built to take the place of the one that serves. */
  | {
      readonly task: "dropIndex";
      readonly storeKey: string;
      readonly path: string;
      readonly rebuild: boolean;
    }
  | { readonly task: "reshape"; readonly storeKey: string; readonly wanted: WantedSearch }
  | { readonly task: "completeShape"; readonly storeKey: string }
  /** Gives content that is on disk a name. */
  | {
      readonly task: "putFile";
      readonly storeKey: string;
      readonly file: Omit<StoredFile, "createdUs" | "updatedUs">;
      readonly condition: FileCondition;
      readonly nowUs: bigint;
    }
  | {
      readonly task: "removeFile";
      readonly storeKey: string;
      readonly owner: string;
      readonly name: string;
      readonly ifMatch: string | undefined;
    }
  /** Adds to the files that `replaceFiles` is to put in place, after those that came `from` before. */
  | {
      readonly task: "stageFiles";
      readonly storeKey: string;
      readonly from: number;
      readonly files: readonly StoredFile[];
    }
  /** Makes the staged files, of which there are so many, all files of the store. */
  | { readonly task: "replaceFiles"; readonly storeKey: string; readonly count: number }
  /** Forgets which content has lost a name, and puts all that was committed so far on disk. */
  | {
      readonly task: "clearGarbage";
      readonly storeKey: string;
      readonly sha256s: readonly string[];
    }
  /** Ends all work in hand and closes everything. */
  | { readonly task: "shutdown" };

/** What a task that is done is answered with. */
export interface TaskAnswers {
  readonly create: undefined;
  readonly open: undefined;
  readonly close: undefined;
  readonly addIndex: undefined;
  readonly dropIndex: undefined;
  readonly reshape: StoreShape;
  readonly completeShape: StoreShape;
  readonly putFile: StoredFile;
  /** False if there was none. */
  readonly removeFile: boolean;
  readonly stageFiles: undefined;
  readonly replaceFiles: undefined;
  readonly clearGarbage: undefined;
  readonly shutdown: undefined;
}

export type TaskAnswer<Task extends WriterTask = WriterTask> = TaskAnswers[Task["task"]];

/** From the main thread to a writer thread. */
export type WriterRequest =
  | ({ readonly kind: "writes" } & PackedWrites)
  | { readonly kind: "task"; readonly call: number; readonly task: WriterTask }
  | { readonly kind: "abort"; readonly call: number }
  /** The main thread's and the readers' connections to a store are closed. */
  | { readonly kind: "released"; readonly storeKey: string }
  /** A store's log was written back as far as that goes, or that has failed. */
  | { readonly kind: "writtenBack"; readonly storeKey: string; readonly isDone: boolean };

/** From a writer thread to the main thread. */
export type WriterReport =
  | ({ readonly kind: "answers" } & PackedAnswers)
  | { readonly kind: "done"; readonly call: number; readonly answer: TaskAnswer }
  | { readonly kind: "failed"; readonly call: number; readonly failure: Failure }
  | { readonly kind: "progress"; readonly call: number; readonly progress: BuildProgress }
  /** Asks for the connections of others to a store to be closed. */
  | { readonly kind: "release"; readonly storeKey: string }
  /** Asks for a store's log to be written back; is always answered. */
  | { readonly kind: "writeBack"; readonly storeKey: string }
  | {
      readonly kind: "log";
      readonly level: LogLevel;
      readonly fields: object;
      readonly message: string;
    };
