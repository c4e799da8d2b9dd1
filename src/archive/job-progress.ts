import { CollectorError } from "../errors.ts";
import { type CancelFlag, isRaised } from "./cancel-flag.ts";

const reportEveryMs = 100;

export interface JobProgressOptions {
  readonly cancelled: CancelFlag;
  readonly report: (done: bigint, total: bigint) => void;
}

/** How far a job is; asked after every block, so that a job that is no longer wanted ends. */
export class JobProgress {
  readonly #options: JobProgressOptions;
  #reportedAtMs: number = performance.now();
  #total = 0;
  #work = 0;
  #done = 0;

  constructor(options: JobProgressOptions) {
    this.#options = options;
  }

  /**
   * @param total bytes, as they are reported.
   * @param work bytes that have to be gone through for it, some of them twice.
   */
  begin(total: number, work: number): void {
    this.#total = total;
    this.#work = work;
    this.#report();
  }

  /** @throws {CollectorError} CANCELLED */
  advance(bytes: number): void {
    this.check();
    this.#done += bytes;
    if (performance.now() - this.#reportedAtMs >= reportEveryMs) this.#report();
  }

  end(): void {
    this.#done = this.#work;
    this.#report();
  }

  /** @throws {CollectorError} CANCELLED */
  check(): void {
    if (isRaised(this.#options.cancelled)) throw cancelled();
  }

  #report(): void {
    this.#reportedAtMs = performance.now();
    const share = this.#work === 0 ? 1 : Math.min(1, this.#done / this.#work);
    this.#options.report(BigInt(Math.floor(this.#total * share)), BigInt(this.#total));
  }
}

export function cancelled(): CollectorError {
  return new CollectorError("CANCELLED", "the work on the archive was cancelled");
}
