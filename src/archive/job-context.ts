import type { CpuThrottle } from "../lib/cpu-throttle.ts";
import type { JobProgress } from "./job-progress.ts";

/** What a job in a thread goes through between its blocks. */
export interface JobContext {
  readonly progress: JobProgress;
  readonly throttle: CpuThrottle;
}
