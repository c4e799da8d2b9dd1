import type { Failure } from "../failure.ts";
import type { ReaderQuery, ReaderResult } from "./queries.ts";

export interface ReaderOptions {
  /** The folder that holds the stores; a store's key is its path in there. */
  readonly storesFolder: string;
  /** Connections that a reader keeps open. */
  readonly handlesMax: number;
}

/** From the server to a reader process. A reader runs one query at a time. */
export type ReaderRequest =
  | { readonly kind: "start"; readonly options: ReaderOptions }
  | {
      readonly kind: "query";
      readonly call: number;
      readonly storeKey: string;
      readonly query: ReaderQuery;
      readonly budgetMs: number;
    }
  /** Closes the connection to a store. */
  | { readonly kind: "release"; readonly call: number; readonly storeKey: string }
  | { readonly kind: "end" };

/** From a reader process to the server. */
export type ReaderReport =
  | { readonly kind: "ready" }
  | { readonly kind: "result"; readonly call: number; readonly result: ReaderResult }
  | { readonly kind: "failed"; readonly call: number; readonly failure: Failure }
  | { readonly kind: "released"; readonly call: number };

/**
 * Which calls are to stop is not told by messages, which a busy process does not read: the server writes
 * the call's number, on a line of its own, to this file descriptor of the process.
 */
export const cancelFd = 4;

/** What the thread of a reader that listens to {@link cancelFd} is started with. */
export interface CancelWatchOptions {
  /** One 32-bit cell: the number of the last call that was cancelled. */
  readonly cancelled: SharedArrayBuffer;
}
