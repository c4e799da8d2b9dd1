import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { MessageChannel, type MessagePort, receiveMessageOnPort } from "node:worker_threads";
import { defaultLimits } from "../../../lib/limits.ts";
import { createStep, peopleLayout } from "../../testing/engine-harness.ts";
import { openForReading } from "../connection.ts";
import { createStoreFolder } from "../create-store.ts";
import { dataFileName } from "../store-paths.ts";
import { textLevelsReader } from "../text-levels.ts";
import { unpackAnswers } from "./answer-codec.ts";
import type { WriterReport, WriterRequest } from "./messages.ts";
import { largeEntries } from "./text-merges.ts";
import { packWrites } from "./write-codec.ts";
import { WriterLoop } from "./writer-loop.ts";

const storeKey = "people/1";

function createRequest(call: number): WriterRequest {
  const write = { steps: [createStep(`${call}`)] };
  return { kind: "writes", ...packWrites([{ call, storeKey, nowUs: 1n, write }]) };
}

/** A loop with a store to write to; what it reports comes to `port`. */
async function openLoop(): Promise<
  AsyncDisposable & {
    readonly loop: WriterLoop;
    readonly port: MessagePort;
    readonly dataPath: string;
  }
> {
  const storesFolder = await mkdtemp(join(tmpdir(), "collector-loop-"));
  const { port1, port2 } = new MessageChannel();
  createStoreFolder(join(storesFolder, storeKey), peopleLayout);
  const loop = new WriterLoop(port1, { storesFolder, limits: defaultLimits, openStoresMax: 1 });
  return {
    loop,
    port: port2,
    dataPath: join(storesFolder, storeKey, dataFileName),
    async [Symbol.asyncDispose]() {
      loop.receive({ kind: "task", call: 0, task: { task: "shutdown" } });
      port1.close();
      port2.close();
      await rm(storesFolder, { recursive: true });
    },
  };
}

describe("WriterLoop", () => {
  it("runs a task after the writes before it, and not after all that follow", async () => {
    await using opened = await openLoop();
    const { loop, port } = opened;
    const send = (request: WriterRequest): void => port.postMessage(request);
    const taskCall = 5000;
    const [before, all] = [600, 2000];
    for (let call = 2; call <= before; call++) send(createRequest(call));
    send({ kind: "task", call: taskCall, task: { task: "completeShape", storeKey } });
    for (let call = before + 1; call <= all; call++) send(createRequest(call));
    loop.receive(createRequest(1));
    const answered: number[] = [];
    let received = receiveMessageOnPort(port);
    while (received !== undefined) {
      const report: WriterReport = received.message;
      if (report.kind === "answers") unpackAnswers(report, ({ call }) => answered.push(call));
      else if (report.kind === "done") answered.push(report.call);
      received = receiveMessageOnPort(port);
    }
    assert.equal(answered.length, all + 1);
    const place = answered.indexOf(taskCall);
    assert(place >= before && place < all, `the task was answered after ${place} writes`);
  });

  it("makes one segment of a large text index when nothing is written any more", async () => {
    await using opened = await openLoop();
    const perCall = 600;
    const calls = Math.ceil((largeEntries * 1.1) / perCall);
    for (let call = 0; call < calls; call++) {
      const steps = Array.from({ length: perCall }, (_, at) =>
        createStep(`${call}-${at}`, { name: "often" }),
      );
      const request = packWrites([{ call, storeKey, nowUs: 1n, write: { steps } }]);
      opened.loop.receive({ kind: "writes", ...request });
    }
    const db = openForReading(opened.dataPath);
    try {
      const read = textLevelsReader(db, 1n);
      const segments = (): number => read().reduce((sum, level) => sum + level.segments, 0);
      assert(segments() > 1);
      while (segments() > 1) await sleep(50);
      const found = db.prepare("SELECT count(*) AS n FROM text_1 WHERE text_1 MATCH 'often'").get();
      assert.equal(Number(found?.["n"]), calls * perCall);
    } finally {
      db.close();
    }
  });
});
