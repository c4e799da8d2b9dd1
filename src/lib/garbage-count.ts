import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/** After how many bytes is collected. All garbage takes longer than the young, some 20 ms. */
const collectEveryBytes = { minor: 16 * 1024 * 1024, major: 32 * 1024 * 1024 } as const;

type Collect = (kind: "minor" | "major") => void;

/** Of this thread. */
let collect: Collect | undefined;

/**
 * Counts bytes of large buffers that die at once, and has them collected now and then, each thread for itself.
 *
 * Nothing collects for the sake of what buffers hold outside of the heap, until that is 64 MiB. `young` buffers
 * go with the young objects, which takes about a millisecond. Those that are `held` by an object of the engine, as
 * each call of zlib has one, go only with all garbage of the heap: for threads whose heap is small.
 */
export class GarbageCount {
  readonly #kind: "minor" | "major";
  #bytes = 0;

  constructor(buffers: "young" | "held") {
    this.#kind = buffers === "young" ? "minor" : "major";
  }

  note(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes < collectEveryBytes[this.#kind]) return;
    this.#bytes = 0;
    collect ??= findCollector();
    collect(this.#kind);
  }
}

/** The engine's own function, which has no name in a program that is not started with a flag for it. */
function findCollector(): Collect {
  setFlagsFromString("--expose-gc");
  const found: unknown = runInNewContext("gc");
  setFlagsFromString("--no-expose-gc");
  if (typeof found !== "function") return () => undefined;
  return (type) => {
    Reflect.apply(found, undefined, [{ type }]);
  };
}
