/** Failures in a row after which a collector gets no calls for a while. */
export const failuresMax = 5;

/** Collectors that are remembered. */
export const collectorsMax = 1000;

/** How long it gets none at first; twice as long after each further failure. */
const firstPauseMs = 500;
const longestPauseMs = 30_000;

/** What is known of a collector that has failed lately. */
interface Breaker {
  failures: number;
  pauseMs: number;
  /** When it may be tried again; 0 while it gets calls as others do. */
  openUntilMs: number;
  /** One call is on its way to find out whether it is well again. */
  isProbing: boolean;
}

/**
 * Keeps calls from collectors that do not answer: after {@link failuresMax} failures in a row one gets
 * none for a while, then a single one, and all again once that succeeds.
 *
 * What counts is whether the other end could be reached. An answer is an answer, whatever it says.
 */
export class Breakers {
  readonly #byCollector = new Map<string, Breaker>();
  readonly #nowMs: () => number;

  /** @param nowMs a clock that only goes forward */
  constructor(nowMs: () => number = () => performance.now()) {
    this.#nowMs = nowMs;
  }

  /** Whether a call may be given to a collector now. */
  allows(collectorId: string): boolean {
    const breaker = this.#byCollector.get(collectorId);
    if (breaker === undefined || breaker.openUntilMs === 0) return true;
    return !breaker.isProbing && this.#nowMs() >= breaker.openUntilMs;
  }

  /** A call is given to it. */
  begin(collectorId: string): void {
    const breaker = this.#byCollector.get(collectorId);
    if (breaker !== undefined && breaker.openUntilMs > 0) breaker.isProbing = true;
  }

  succeeded(collectorId: string): void {
    this.#byCollector.delete(collectorId);
  }

  failed(collectorId: string): void {
    const known = this.#byCollector.get(collectorId);
    const breaker = known ?? {
      failures: 0,
      pauseMs: firstPauseMs,
      openUntilMs: 0,
      isProbing: false,
    };
    if (known === undefined) this.#makeRoom();
    this.#byCollector.set(collectorId, breaker);
    // One of those that were under way when it was noticed: that says nothing new.
    if (breaker.openUntilMs > 0 && !breaker.isProbing) return;
    breaker.failures += 1;
    breaker.isProbing = false;
    if (breaker.failures < failuresMax) return;
    breaker.openUntilMs = this.#nowMs() + breaker.pauseMs;
    breaker.pauseMs = Math.min(breaker.pauseMs * 2, longestPauseMs);
  }

  /** The call that was begun says nothing of the collector: its caller has given up, for instance. */
  undecided(collectorId: string): void {
    const breaker = this.#byCollector.get(collectorId);
    if (breaker !== undefined) breaker.isProbing = false;
  }

  /** Those that failed longest ago, and may have left, make room. */
  #makeRoom(): void {
    for (const id of this.#byCollector.keys()) {
      if (this.#byCollector.size < collectorsMax) return;
      this.#byCollector.delete(id);
    }
  }
}
