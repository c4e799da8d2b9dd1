import { readFileSync } from "node:fs";

/** What a thread has had of the processors since it started, in ms. */
export interface ThreadTimes {
  readonly ranMs: number;
  /** Ready to run, while others had the processors. */
  readonly waitedMs: number;
}

/** Of the calling thread; undefined where the system does not count it. Takes some 20 µs. */
export function threadTimes(): ThreadTimes | undefined {
  return readTimes("thread-self");
}

/** The same of the process's main thread. */
export function mainThreadTimes(): ThreadTimes | undefined {
  return readTimes("self");
}

function readTimes(whose: string): ThreadTimes | undefined {
  if (process.platform !== "linux") return undefined;
  let nanoseconds: readonly string[];
  try {
    nanoseconds = readFileSync(`/proc/${whose}/schedstat`, "latin1").split(" ");
  } catch {
    // Not every sandbox has it. Where it is there but not counted, all of it is 0.
    return undefined;
  }
  const [ran, waited] = nanoseconds;
  return { ranMs: Number(ran) / 1e6, waitedMs: Number(waited) / 1e6 };
}
