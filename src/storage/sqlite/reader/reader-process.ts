import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { siblingModule } from "../../../lib/sibling-module.ts";
import { packFailure } from "../failure.ts";
import { translateError } from "../translate-error.ts";
import type { CancelWatchOptions, ReaderReport, ReaderRequest } from "./messages.ts";
import { QueryRunner } from "./query-runner.ts";

// The main module of a reader process. It runs the queries and is deaf while it does; a thread hears
// which of them are to stop, and that the server is gone.

const cancelled = new SharedArrayBuffer(4);
const watch = new Worker(siblingModule(import.meta.url, "cancel-watch"), {
  workerData: { cancelled } satisfies CancelWatchOptions,
  execArgv: [],
});
// From here on: a busy server may send "start" long after the thread came up.
const watching = once(watch, "online");
let runner: QueryRunner | undefined;

process.on("disconnect", () => process.kill(process.pid, "SIGKILL"));
process.on("message", (request: ReaderRequest) => {
  switch (request.kind) {
    case "start":
      runner = new QueryRunner({ ...request.options, cancelled });
      void watching.then(() => report({ kind: "ready" }));
      return;
    case "query":
      run(request);
      return;
    case "release":
      runner?.release(request.storeKey);
      report({ kind: "released", call: request.call });
      return;
    case "end":
      void end();
  }
});

function run(request: ReaderRequest & { readonly kind: "query" }): void {
  const { call } = request;
  try {
    if (runner === undefined) throw new Error("a reader has to be started first");
    report({ kind: "result", call, result: runner.run(request) });
  } catch (error) {
    report({ kind: "failed", call, failure: packFailure(translateError(error)) });
  }
}

function report(message: ReaderReport): void {
  process.send?.(message);
}

async function end(): Promise<void> {
  process.exitCode = 0;
  process.removeAllListeners("disconnect");
  await watch.terminate();
  process.disconnect();
}
