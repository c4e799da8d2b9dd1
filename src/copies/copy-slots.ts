import { CollectorError } from "../errors.ts";
import type { ArchiveInstaller, CollectionArchiver, CopyRun } from "./copy-parts.ts";

/** Copies that may wait for a slot. */
const waitingMax = 1000;

/** When a caller may try again whose copy was one too many, in ms. */
const retryAfterMs = 1000;

interface Waiting {
  readonly begin: () => void;
}

/** Bounds how many copies work at a time; the others wait in the order in which they came. */
export class CopySlots {
  readonly #max: number;
  readonly #waiting = new Set<Waiting>();
  #taken = 0;

  /** @param max at least 1 */
  constructor(max: number) {
    this.#max = max;
  }

  /**
   * Does a piece of work once there is a slot for it. Work that has one must not ask for another.
   *
   * @throws {CollectorError} OVERLOADED if too many wait; what the run's signal fires with while it waits; what
   * `work` throws
   */
  async run<T>(run: CopyRun, work: () => Promise<T>): Promise<T> {
    await this.#take(run);
    try {
      return await work();
    } finally {
      this.#taken -= 1;
      const [next] = this.#waiting;
      if (next !== undefined) {
        this.#waiting.delete(next);
        next.begin();
      }
    }
  }

  async #take({ signal, report }: CopyRun): Promise<void> {
    signal.throwIfAborted();
    if (this.#taken < this.#max) {
      this.#taken += 1;
      return;
    }
    if (this.#waiting.size >= waitingMax) {
      throw new CollectorError(
        "OVERLOADED",
        `${this.#taken} copies run and ${this.#waiting.size} wait, the limit is ${waitingMax}; try again`,
        { retryAfterMs },
      );
    }
    report({ phase: "waiting" });
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiting: Waiting = {
      begin: () => {
        this.#taken += 1;
        resolve();
      },
    };
    this.#waiting.add(waiting);
    const leave = (): void => {
      if (this.#waiting.delete(waiting)) reject(signal.reason);
    };
    signal.addEventListener("abort", leave, { once: true });
    try {
      await promise;
    } finally {
      signal.removeEventListener("abort", leave);
    }
  }
}

/** Lets copies of one thing be made one after the other, while those of others go on beside them. */
export class CopyTurns {
  readonly #slots = new Map<string, { readonly slot: CopySlots; users: number }>();

  /** @throws as {@link CopySlots.run} */
  async run<T>(key: string, run: CopyRun, work: () => Promise<T>): Promise<T> {
    const entry = this.#slots.get(key) ?? { slot: new CopySlots(1), users: 0 };
    this.#slots.set(key, entry);
    entry.users += 1;
    try {
      return await entry.slot.run(run, work);
    } finally {
      entry.users -= 1;
      if (entry.users === 0) this.#slots.delete(key);
    }
  }
}

/** An archiver whose work takes a slot. */
export function boundedArchiver(
  archiver: CollectionArchiver,
  slots: CopySlots,
): CollectionArchiver {
  return { write: (request, run) => slots.run(run, () => archiver.write(request, run)) };
}

/** An installer whose work takes a slot. */
export function boundedInstaller(installer: ArchiveInstaller, slots: CopySlots): ArchiveInstaller {
  return {
    install: (request, run) => slots.run(run, () => installer.install(request, run)),
    verify: (chain, run, noteDigest) =>
      slots.run(run, () => installer.verify(chain, run, noteDigest)),
    clone: (request, run) => slots.run(run, () => installer.clone(request, run)),
  };
}
