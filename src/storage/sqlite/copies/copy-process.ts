import { becomeBackground } from "../../../lib/background-process.ts";
import { packFailure } from "../failure.ts";
import { translateError } from "../translate-error.ts";
import { checkCopy } from "./check-copy.ts";
import type { CopyJob, CopyReport, CopyResults } from "./copy-jobs.ts";
import { completeCopy, takeSnapshot } from "./take-snapshot.ts";

// The main module of a process that copies or checks stores, one at a time. It is ended from outside if it is
// not wanted any more: SQLite cannot be stopped from inside while it copies.

becomeBackground();
process.on("message", (job: CopyJob) => {
  run(job).then(
    (result) => report({ kind: "done", result }),
    (error: unknown) => report({ kind: "failed", failure: packFailure(translateError(error)) }),
  );
});

async function run(job: CopyJob): Promise<CopyResults[keyof CopyResults]> {
  switch (job.kind) {
    case "snapshot":
      return takeSnapshot(job);
    case "check":
      return await checkCopy(job, (progress) => report({ kind: "progress", progress }));
    case "complete":
      return completeCopy(job.path);
  }
}

function report(message: CopyReport): void {
  process.send?.(message);
}
