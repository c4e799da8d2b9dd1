import { Worker } from "node:worker_threads";
import { siblingModule } from "../../../lib/sibling-module.ts";
import {
  type ReaderReport,
  type ReaderRequest,
  type ReaderThreadOptions,
  type ReaderThreadRequest,
  stopFlag,
} from "./messages.ts";

// The main module of a reader process. Its thread runs the queries and is busy while it does; this
// one stays free to tell it to stop.

const stop = new Int32Array(new SharedArrayBuffer(4));
let thread: Worker | undefined;
let current: { readonly call: number; readonly budget: NodeJS.Timeout } | undefined;

// The server is gone. A query may hold the thread for long, so there is no gentle way; nothing is
// lost, as a reader writes nothing.
process.on("disconnect", () => process.kill(process.pid, "SIGKILL"));
process.on("message", (request: ReaderRequest) => {
  switch (request.kind) {
    case "start":
      start({ ...request.options, stop: stop.buffer });
      return;
    case "query": {
      Atomics.store(stop, 0, stopFlag.run);
      const budget = setTimeout(() => Atomics.store(stop, 0, stopFlag.timedOut), request.budgetMs);
      current = { call: request.call, budget };
      forward(request);
      return;
    }
    case "cancel":
      if (current?.call === request.call) Atomics.store(stop, 0, stopFlag.cancelled);
      return;
    case "release":
      forward(request);
      return;
    case "end":
      process.exitCode = 0;
      void thread?.terminate();
      process.removeAllListeners("disconnect");
      process.disconnect();
  }
});

function start(options: ReaderThreadOptions): void {
  thread = new Worker(siblingModule(import.meta.url, "reader-thread"), {
    workerData: options,
    execArgv: [],
  });
  thread.on("message", (report: ReaderReport) => {
    if (report.kind === "result" || report.kind === "failed") {
      clearTimeout(current?.budget);
      current = undefined;
    }
    process.send?.(report);
  });
}

function forward(request: ReaderThreadRequest): void {
  thread?.postMessage(request, []);
}
