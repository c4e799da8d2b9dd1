import { statfsSync } from "node:fs";

const checkEveryMs = 1000;

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

  /** Looks at the disk once a second at most, and takes a few microseconds then. */
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
