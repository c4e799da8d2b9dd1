import type { Scheduler } from "../../lib/scheduler.ts";

/** Pause before the first attempt, and by how much each one is longer than the one before. */
const pauseMinMs = 100;
const pauseFactor = 2;

export interface ReconnectorOptions {
  readonly scheduler: Scheduler;
  readonly retryMaxMs: number;
  /** From 0 to 1. */
  readonly random: () => number;
}

interface Waiting {
  timer: Disposable | undefined;
  attempts: number;
  /** When the attempts are to be counted from the beginning again. */
  steadyAtMs: number;
}

/**
 * Decides when what is down is tried again: soon at first, then ever later, up to `retryMaxMs`, and
 * never in step with others.
 */
export class Reconnector implements Disposable {
  readonly #options: ReconnectorOptions;
  readonly #waiting = new Map<string, Waiting>();
  #isClosed = false;

  constructor(options: ReconnectorOptions) {
    this.#options = options;
  }

  /** Runs `attempt` after the pause that is due; one that is planned already stays as it is. */
  plan(id: string, attempt: () => void, pauseAtLeastMs = 0): void {
    if (this.#isClosed) return;
    const { scheduler, retryMaxMs, random } = this.#options;
    const waiting = this.#waiting.get(id) ?? {
      timer: undefined,
      attempts: 0,
      steadyAtMs: Infinity,
    };
    this.#waiting.set(id, waiting);
    if (waiting.timer !== undefined) return;
    if (scheduler.nowMs() >= waiting.steadyAtMs) waiting.attempts = 0;
    waiting.steadyAtMs = Infinity;
    const backoffMs = Math.min(
      retryMaxMs,
      pauseMinMs * pauseFactor ** Math.min(waiting.attempts, 30),
    );
    waiting.attempts += 1;
    const pauseMs = Math.max(backoffMs, pauseAtLeastMs) * (0.5 + 0.5 * random());
    waiting.timer = scheduler.after(pauseMs, () => {
      waiting.timer = undefined;
      attempt();
    });
  }

  /** It is up. What goes down again soon is tried as if it had not been. */
  succeeded(id: string): void {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return;
    waiting.timer?.[Symbol.dispose]();
    waiting.timer = undefined;
    waiting.steadyAtMs = this.#options.scheduler.nowMs() + this.#options.retryMaxMs;
  }

  forget(id: string): void {
    this.#waiting.get(id)?.timer?.[Symbol.dispose]();
    this.#waiting.delete(id);
  }

  [Symbol.dispose](): void {
    this.#isClosed = true;
    for (const id of this.#waiting.keys()) this.forget(id);
  }
}
