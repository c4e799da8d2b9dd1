import { parentPort, workerData } from "node:worker_threads";
import type { WriterOptions, WriterRequest } from "./messages.ts";
import { WriterLoop } from "./writer-loop.ts";

if (parentPort === null) throw new Error("this module runs in a worker thread");
const loop = new WriterLoop(parentPort, workerData as WriterOptions);
parentPort.on("message", (request: WriterRequest) => loop.receive(request));
