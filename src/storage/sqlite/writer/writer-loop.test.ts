import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { MessageChannel, receiveMessageOnPort } from "node:worker_threads";
import { defaultLimits } from "../../../lib/limits.ts";
import { createStep, peopleLayout } from "../../testing/engine-harness.ts";
import { createStoreFolder } from "../create-store.ts";
import { unpackAnswers } from "./answer-codec.ts";
import type { WriterReport, WriterRequest } from "./messages.ts";
import { packWrites } from "./write-codec.ts";
import { WriterLoop } from "./writer-loop.ts";

const storeKey = "people/1";

function createRequest(call: number): WriterRequest {
  const write = { steps: [createStep(`${call}`)] };
  return { kind: "writes", ...packWrites([{ call, storeKey, nowUs: 1n, write }]) };
}

describe("WriterLoop", () => {
  it("runs a task after the writes before it, and not after all that follow", async () => {
    const storesFolder = await mkdtemp(join(tmpdir(), "collector-loop-"));
    const { port1, port2 } = new MessageChannel();
    try {
      createStoreFolder(join(storesFolder, storeKey), peopleLayout);
      const loop = new WriterLoop(port1, { storesFolder, limits: defaultLimits, openStoresMax: 1 });
      const send = (request: WriterRequest): void => port2.postMessage(request);
      const taskCall = 5000;
      const [before, all] = [600, 2000];
      for (let call = 2; call <= before; call++) send(createRequest(call));
      send({ kind: "task", call: taskCall, task: { task: "completeShape", storeKey } });
      for (let call = before + 1; call <= all; call++) send(createRequest(call));
      loop.receive(createRequest(1));
      const answered: number[] = [];
      let received = receiveMessageOnPort(port2);
      while (received !== undefined) {
        const report: WriterReport = received.message;
        if (report.kind === "answers") unpackAnswers(report, ({ call }) => answered.push(call));
        else if (report.kind === "done") answered.push(report.call);
        received = receiveMessageOnPort(port2);
      }
      assert.equal(answered.length, all + 1);
      const place = answered.indexOf(taskCall);
      assert(place >= before && place < all, `the task was answered after ${place} writes`);
      loop.receive({ kind: "task", call: taskCall, task: { task: "shutdown" } });
    } finally {
      port1.close();
      port2.close();
      await rm(storesFolder, { recursive: true });
    }
  });
});
