import { setImmediate as nextTurn } from "node:timers/promises";

/** How long one call works before others get their turn. */
const turnMs = 10;

/** Keeps a long piece of work from holding up the rest of the process. */
export class Pace {
  #since = performance.now();

  /** To be awaited between steps. Waits only if the work has gone on for a while. */
  async step(): Promise<void> {
    if (performance.now() - this.#since < turnMs) return;
    await nextTurn();
    this.#since = performance.now();
  }
}
