import { parentPort } from "node:worker_threads";
import { CpuThrottle } from "../lib/cpu-throttle.ts";
import { sleepUnlessRaised } from "./cancel-flag.ts";
import { packFailure } from "./file-failure.ts";
import { JobProgress } from "./job-progress.ts";
import type { ArchiveAnswers, ArchiveReport, ArchiveRequest } from "./messages.ts";
import { packArchive } from "./pack.ts";
import { readManifestBytes, unpackArchive } from "./unpack.ts";

// What a thread for archives does.

if (parentPort === null) throw new Error("this module runs in a worker thread");
const port = parentPort;

port.on("message", (request: ArchiveRequest) => void answer(request));

async function answer(request: ArchiveRequest): Promise<void> {
  try {
    post({ kind: "done", answer: await run(request) });
  } catch (error) {
    post({ kind: "failed", failure: packFailure(error) });
  }
}

function run({ job, cancelled }: ArchiveRequest): Promise<ArchiveAnswers[keyof ArchiveAnswers]> {
  const progress = new JobProgress({
    cancelled,
    report: (done, total) => post({ kind: "progress", done, total }),
  });
  const throttle = new CpuThrottle({ sleep: (ms) => sleepUnlessRaised(cancelled, ms) });
  switch (job.kind) {
    case "pack":
      return packArchive(job, { progress, throttle });
    case "manifest":
      return readManifestBytes(job);
    case "unpack":
      return unpackArchive(job, { progress, throttle });
  }
}

function post(report: ArchiveReport): void {
  port.postMessage(report);
}
