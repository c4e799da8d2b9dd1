import { parentPort, workerData } from "node:worker_threads";
import { packFailure } from "../failure.ts";
import { translateError } from "../translate-error.ts";
import type { ReaderReport, ReaderThreadOptions, ReaderThreadRequest } from "./messages.ts";
import type { ReaderResult } from "./queries.ts";
import { QueryRunner } from "./query-runner.ts";

if (parentPort === null) throw new Error("this module runs in a worker thread");
const port = parentPort;
const runner = new QueryRunner(workerData as ReaderThreadOptions);

port.on("message", (request: ReaderThreadRequest) => {
  const { kind, call, storeKey } = request;
  if (kind === "release") {
    runner.release(storeKey);
    report({ kind: "released", call });
    return;
  }
  try {
    const result = runner.run(storeKey, request.query);
    report({ kind: "result", call, result }, bytesOf(result));
  } catch (error) {
    report({ kind: "failed", call, failure: packFailure(translateError(error)) });
  }
});
report({ kind: "ready" });

function report(message: ReaderReport, transfer: ArrayBuffer[] = []): void {
  port.postMessage(message, transfer);
}

function bytesOf(result: ReaderResult): ArrayBuffer[] {
  return "records" in result ? [result.records.bytes.buffer] : [];
}
