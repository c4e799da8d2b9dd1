import { readdir } from "node:fs/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/** What this process holds. */
export interface ProcessLoad {
  /** Open files and sockets. */
  readonly files: number;
  /** Timers, sockets and the like that Node knows of. */
  readonly resources: number;
  /** After everything that nobody needs was given back, in bytes. */
  readonly heapBytes: number;
}

export async function processLoad(): Promise<ProcessLoad> {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  for (let i = 0; i < 3; i += 1) {
    collect();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return {
    files: (await readdir("/proc/self/fd")).length,
    resources: process.getActiveResourcesInfo().length,
    heapBytes: process.memoryUsage().heapUsed,
  };
}
