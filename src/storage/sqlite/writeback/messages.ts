import type { Failure } from "../failure.ts";

/** What the process is told to do, one thing after the other. */
export interface WriteBackRequest {
  readonly call: number;
  /** Absolute; the database of a store that a writer has open. */
  readonly path: string;
}

export interface WriteBackReport {
  readonly call: number;
  /** Undefined if all is well. */
  readonly failure: Failure | undefined;
}
