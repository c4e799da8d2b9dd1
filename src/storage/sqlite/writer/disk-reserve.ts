import { statfsSync } from "node:fs";

/** Often enough for a fast disk not to fill up its reserve in between. */
const checkEveryMs = 2;

/** Knows whether the disk has less free space than is to be kept in reserve. */
export class DiskReserve {
  readonly #folder: string;
  readonly #reserveBytes: number;
  #checkedMs = -checkEveryMs;
  #low = false;

  constructor(folder: string, reserveBytes: number) {
    this.#folder = folder;
    this.#reserveBytes = reserveBytes;
  }

  /** Looks at the disk now and then, which takes a few microseconds. @throws what the system throws */
  get low(): boolean {
    const nowMs = performance.now();
    if (nowMs - this.#checkedMs >= checkEveryMs) {
      this.#checkedMs = nowMs;
      const { bavail, bsize } = statfsSync(this.#folder);
      this.#low = bavail * bsize < this.#reserveBytes;
    }
    return this.#low;
  }
}
