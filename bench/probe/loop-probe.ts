import { writeFileSync } from "node:fs";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { isMainThread } from "node:worker_threads";

/**
 * Loaded into a server by `--import`: measures the delay of its event loop. SIGUSR2 begins; a second
 * one ends and writes what was found, in ms, to the file that `COLLECTOR_LOOP_PROBE` names.
 */
const path = process.env["COLLECTOR_LOOP_PROBE"];
if (isMainThread && path !== undefined) {
  const delay = monitorEventLoopDelay({ resolution: 1 });
  let measuring = false;
  process.on("SIGUSR2", () => {
    measuring = !measuring;
    if (measuring) {
      delay.reset();
      delay.enable();
      return;
    }
    delay.disable();
    const ms = (ns: number) => ns / 1e6;
    const found = {
      p50: ms(delay.percentile(50)),
      p99: ms(delay.percentile(99)),
      p999: ms(delay.percentile(99.9)),
      max: ms(delay.max),
    };
    writeFileSync(path, JSON.stringify(found));
  });
}
