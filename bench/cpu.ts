import { readdir, readFile } from "node:fs/promises";
import { childrenOf } from "../test/support/server-process.ts";

/** The kernel's unit of CPU time in `/proc`, in µs. */
const tickUs = 10_000;

/** CPU time used so far by a process, its threads and the processes it started, in µs. */
export async function cpuOf(pid: number): Promise<number> {
  const pids = [pid, ...(await childrenOf(pid))];
  const times = await Promise.all(pids.map(cpuOfOne));
  return times.reduce((sum, time) => sum + time, 0);
}

/** CPU time that all programs of the machine have used so far, in µs. */
export async function busyUsOfMachine(): Promise<number> {
  const [line = ""] = (await readFile("/proc/stat", "utf8")).split("\n", 1);
  const [user = 0, nice = 0, system = 0, , , interrupt = 0, soft = 0] = line
    .split(/\s+/)
    .slice(1)
    .map(Number);
  return (user + nice + system + interrupt + soft) * tickUs;
}

/** CPU time of each thread of a process so far, in µs, by thread id. */
export async function cpuOfThreads(pid: number): Promise<ReadonlyMap<number, number>> {
  const times = new Map<number, number>();
  for (const task of await readdir(`/proc/${pid}/task`).catch(() => [])) {
    const stat = await readFile(`/proc/${pid}/task/${task}/schedstat`, "utf8").catch(() => "0");
    times.set(Number(task), Number(stat.split(" ")[0]) / 1000);
  }
  return times;
}

/**
 * Resident memory of a process and of those it started, in bytes. Pages that they share, such as those of the
 * program itself and for a moment all those of a process that forks, count as often as they are shared.
 */
export async function memoryOf(pid: number): Promise<number> {
  return await sumOf(pid, "status", /VmRSS:\s+(\d+)/);
}

/** The same, but a page that processes share counts as one, in parts with each of them. */
export async function proportionalMemoryOf(pid: number): Promise<number> {
  return await sumOf(pid, "smaps_rollup", /^Pss:\s+(\d+)/m);
}

/** Of a process and those it started, what a file of `/proc` says in KiB, in bytes. */
async function sumOf(pid: number, file: string, pattern: RegExp): Promise<number> {
  const pids = [pid, ...(await childrenOf(pid))];
  const sizes = await Promise.all(
    pids.map(async (one) => {
      const text = await readFile(`/proc/${one}/${file}`, "utf8").catch(() => "");
      return Number(pattern.exec(text)?.[1] ?? 0) * 1024;
    }),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}

/** The sum of its threads is exact, but for those that have ended: the kernel counts them, in its units. */
async function cpuOfOne(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
  // The name before the last bracket may hold spaces; utime and stime are fields 14 and 15.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const counted = (Number(fields[11] ?? 0) + Number(fields[12] ?? 0)) * tickUs;
  const threads = await cpuOfThreads(pid);
  return Math.max(
    counted,
    threads.values().reduce((sum, time) => sum + time, 0),
  );
}
