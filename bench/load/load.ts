import { fork } from "node:child_process";
import { join } from "node:path";
import { cpuOf } from "../cpu.ts";
import type { FlowResult, LoadJob, LoadMessage } from "./load-job.ts";

export interface LoadResult {
  readonly flows: readonly FlowResult[];
  readonly tookMs: number;
  /** CPU time of the load process per call, in µs. */
  readonly clientCpuUsPerCall: number;
  /** CPU time of the server per call, its threads and processes included, in µs. */
  readonly serverCpuUsPerCall: number;
}

/**
 * Puts load on a server from a process of its own.
 *
 * @param serverPid whose CPU time is taken while the measurement runs.
 * @param hooks called when the measurement begins, after the warm-up, and when it ends.
 * @throws if a call fails: a figure with failures in it means nothing.
 */
export async function load(
  job: LoadJob,
  serverPid: number,
  hooks: { readonly onBegin?: () => void; readonly onEnd?: () => void } = {},
): Promise<LoadResult> {
  const child = fork(join(import.meta.dirname, "load-process.ts"), {
    // Messages are bytes.
    serialization: "advanced",
  });
  const exited = new Promise((resolve) => child.once("exit", resolve));
  let cpuAtBegin: Promise<number> | undefined;
  try {
    const { promise, resolve, reject } = Promise.withResolvers<LoadResult>();
    child.once("error", reject);
    let ended = false;
    child.once("exit", (code) => {
      if (!ended) reject(new Error(`the load process ended with code ${code}`));
    });
    child.on("message", (message: LoadMessage) => {
      if (message.kind === "begun") {
        hooks.onBegin?.();
        cpuAtBegin = cpuOf(serverPid);
      } else if (message.kind === "failed") reject(new Error(message.reason));
      else {
        ended = true;
        hooks.onEnd?.();
        const { results, tookMs, cpuUs } = message;
        const calls = results.reduce((sum, { done }) => sum + done, 0);
        const failures = results.flatMap((flow) => Object.entries(flow.failures));
        if (calls === 0) reject(new Error("not one call was answered"));
        if (failures.length > 0) {
          const ways = failures.map(([how, count]) => `${count} with ${how}`).join(", ");
          reject(new Error(`of ${calls} calls did not end with a message: ${ways}`));
        }
        Promise.all([cpuAtBegin ?? 0, cpuOf(serverPid)]).then(([begin, end]) => {
          resolve({
            flows: results,
            tookMs,
            clientCpuUsPerCall: cpuUs / calls,
            serverCpuUsPerCall: (end - begin) / calls,
          });
        }, reject);
      }
    });
    child.send(job);
    const result = await promise;
    await exited;
    return result;
  } finally {
    child.kill("SIGKILL");
  }
}
