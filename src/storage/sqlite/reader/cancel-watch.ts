import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import { workerData } from "node:worker_threads";
import { type CancelWatchOptions, cancelFd } from "./messages.ts";

// The thread of a reader process that hears which calls are to stop while the process is busy.

const cell = new Int32Array((workerData as CancelWatchOptions).cancelled);
const lines = createInterface({ input: createReadStream("", { fd: cancelFd }) });
lines.on("line", (call) => Atomics.store(cell, 0, Number(call)));
// The server is gone. A query may hold the process for long, so there is no gentle way; nothing is
// lost, as a reader writes nothing.
lines.on("close", () => process.kill(process.pid, "SIGKILL"));
