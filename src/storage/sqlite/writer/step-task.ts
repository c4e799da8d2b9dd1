import type { StoreWriter } from "./store-writer.ts";

/** Long work on a store that is done in small steps between groups of writes. */
export interface StepTask {
  /** Does a step. @returns true once all is done. @throws {CollectorError} */
  step(store: StoreWriter): boolean;
}

/** How long one step aims to take, in ms: writes wait for it at most. */
const stepMs = 6;
const rowsMin = 16;
const rowsMax = 4096;

/** Rows of the first step of a task. */
export const rowsAtFirst = 256;

/** Rows of the next step, after one of `rows` that took so long. */
export function nextRows(rows: number, tookMs: number): number {
  const wanted = (rows * stepMs) / Math.max(tookMs, 0.1);
  // At most twice as many, so that one lucky step does not make the next a long one.
  return Math.round(Math.min(Math.max(wanted, rowsMin), rows * 2, rowsMax));
}
