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
  | { readonly kind: "cancel"; readonly call: number }
  /** Closes the connection to a store. */
  | { readonly kind: "release"; readonly call: number; readonly storeKey: string }
  | { readonly kind: "end" };

/** From a reader process to the server. */
export type ReaderReport =
  | { readonly kind: "ready" }
  | { readonly kind: "result"; readonly call: number; readonly result: ReaderResult }
  | { readonly kind: "failed"; readonly call: number; readonly failure: Failure }
  | { readonly kind: "released"; readonly call: number };

/** What the process tells its thread. */
export type ReaderThreadRequest = Extract<ReaderRequest, { kind: "query" | "release" }>;

/** What the thread of a reader is started with. */
export interface ReaderThreadOptions extends ReaderOptions {
  /** One 32-bit cell: a {@link StopFlag}. */
  readonly stop: SharedArrayBuffer;
}

/** Why a running query is to stop. */
export const stopFlag = { run: 0, cancelled: 1, timedOut: 2 } as const;
