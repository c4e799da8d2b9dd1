import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/** After how many bytes the young objects are collected, which takes about a millisecond. */
const collectEveryBytes = 16 * 1024 * 1024;

/** Of this thread. */
let collect: (() => void) | undefined;

/**
 * Counts bytes of large buffers that die at once, and has them collected now and then, each thread for itself.
 *
 * Nothing collects for the sake of what buffers hold outside of the heap, until that is 64 MiB.
 */
export class GarbageCount {
  #bytes = 0;

  note(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes < collectEveryBytes) return;
    this.#bytes = 0;
    collect ??= findCollector();
    collect();
  }
}

/** The engine's own function, which has no name in a program that is not started with a flag for it. */
function findCollector(): () => void {
  setFlagsFromString("--expose-gc");
  const found: unknown = runInNewContext("gc");
  setFlagsFromString("--no-expose-gc");
  if (typeof found !== "function") return () => undefined;
  return () => {
    Reflect.apply(found, undefined, [{ type: "minor" }]);
  };
}
