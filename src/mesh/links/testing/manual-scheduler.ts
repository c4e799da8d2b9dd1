import { setImmediate as turn } from "node:timers/promises";
import type { Scheduler } from "../../../lib/scheduler.ts";

/** Turns of the event loop in which what a timer has set off gets done. */
const turnsPerStep = 12;

/** What takes longer than so many steps never ends. */
const stepsMax = 10_000;

interface Planned {
  readonly atMs: number;
  readonly order: number;
  readonly run: () => void;
}

/** A scheduler whose time passes when a test says so. */
export class ManualScheduler implements Scheduler {
  #nowMs = 0;
  #count = 0;
  readonly #planned = new Set<Planned>();

  nowMs(): number {
    return this.#nowMs;
  }

  /** Timers that are running. */
  get pending(): number {
    return this.#planned.size;
  }

  after(ms: number, run: () => void): Disposable {
    this.#count += 1;
    const planned = { atMs: this.#nowMs + ms, order: this.#count, run };
    this.#planned.add(planned);
    return { [Symbol.dispose]: () => void this.#planned.delete(planned) };
  }

  /** Lets time pass, and all that follows from it. */
  async advance(ms: number): Promise<void> {
    const endMs = this.#nowMs + ms;
    await settle();
    for (let next = this.#next(endMs); next !== undefined; next = this.#next(endMs)) {
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      this.#planned.delete(next);
      next.run();
      await settle();
    }
    this.#nowMs = endMs;
  }

  /** Lets time pass until a promise settles. */
  async until<T>(promise: Promise<T>, stepMs = 50): Promise<T> {
    const state = { isSettled: false };
    const done = promise.finally(() => {
      state.isSettled = true;
    });
    done.catch(() => undefined);
    for (let steps = 0; !state.isSettled; steps += 1) {
      if (steps > stepsMax) throw new Error("it never settles");
      await this.advance(stepMs);
    }
    return await done;
  }

  #next(endMs: number): Planned | undefined {
    let first: Planned | undefined;
    for (const planned of this.#planned) {
      if (planned.atMs > endMs) continue;
      const isEarlier =
        first === undefined ||
        planned.atMs < first.atMs ||
        (planned.atMs === first.atMs && planned.order < first.order);
      if (isEarlier) first = planned;
    }
    return first;
  }
}

async function settle(): Promise<void> {
  for (let i = 0; i < turnsPerStep; i += 1) await turn();
}
