import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { create } from "@bufbuild/protobuf";
import { anyPack, StringValueSchema } from "@bufbuild/protobuf/wkt";
import { openSystemRecords } from "../collections/system-collections.ts";
import type { SystemRecords } from "../collections/system-records.ts";
import { CollectorError } from "../errors.ts";
import { type Operation, OperationSchema } from "../gen/collector/operations_pb.ts";
import { StatusSchema } from "../gen/google/rpc/status_pb.ts";
import { defaultLimits } from "../lib/limits.ts";
import { SqliteEngine } from "../storage/sqlite/sqlite-engine.ts";
import type { OperationRun } from "./operation.ts";
import { endedOperationsMax, OperationStore } from "./operation-store.ts";

class Fixture implements AsyncDisposable {
  readonly folder: string;
  engine!: SqliteEngine;
  records!: SystemRecords<Operation>;
  store!: OperationStore;

  private constructor(folder: string) {
    this.folder = folder;
  }

  static async open(): Promise<Fixture> {
    const fixture = new Fixture(await mkdtemp(join(tmpdir(), "collector-operations-")));
    await fixture.start();
    return fixture;
  }

  async start(): Promise<void> {
    const limits = defaultLimits;
    this.engine = await SqliteEngine.open({ dataFolder: this.folder, limits });
    this.records = await openSystemRecords(this.engine, OperationSchema, "operations", limits);
    await this.reopen();
  }

  /** Reads the operations anew, as if the server had just started. */
  async reopen(): Promise<void> {
    this.store = await OperationStore.open({
      records: this.records,
      limits: defaultLimits,
      toStatus: (error) =>
        create(StatusSchema, {
          code: 2,
          message: error instanceof CollectorError ? error.reason : String(error),
        }),
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.store.close();
    await this.engine.close();
    await rm(this.folder, { recursive: true, force: true });
  }
}

const topic = { kind: "test", namespace: "default", subject: "default/x" };
const page = { namespace: "", kind: "", pageSize: 0, pageToken: "" };
const answer = anyPack(StringValueSchema, create(StringValueSchema, { value: "done" }));

/** Work that runs until its signal fires. */
function endless({ signal }: OperationRun): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}

function isError(operation: Operation, message: string): void {
  assert.equal(operation.done, true);
  assert.equal(operation.result.case, "error");
  if (operation.result.case === "error") assert.equal(operation.result.value.message, message);
}

describe("OperationStore", () => {
  it("runs work to its end, telling how far it is, and keeps its answer", async () => {
    await using fixture = await Fixture.open();
    const { promise: gate, resolve } = Promise.withResolvers<void>();
    const started = await fixture.store.start(topic, async ({ report }) => {
      report({ done: 5n, total: 10n, phase: "half" });
      report({ done: 3n });
      await gate;
      return answer;
    });
    assert.equal(started.done, false);
    assert.match(started.name, /^operations\//);
    const waited = await fixture.store.wait(started.name, { timeoutMs: 5 });
    assert.deepEqual(
      [waited.done, waited.progressDone, waited.progressTotal, waited.phase],
      [false, 5n, 10n, "half"],
    );
    resolve();
    const ended = await fixture.store.wait(started.name, {});
    assert.deepEqual(ended.result, { case: "response", value: answer });
    assert.equal(started.done, false, "what was answered does not change");
    await fixture.reopen();
    assert.deepEqual(fixture.store.get(started.name), ended);
  });

  it("notes why work failed, and stops work that is cancelled", async () => {
    await using fixture = await Fixture.open();
    const failing = await fixture.store.start(topic, () =>
      Promise.reject(new CollectorError("DISK_FULL", "no room")),
    );
    isError(await fixture.store.wait(failing.name, {}), "DISK_FULL");
    const endlessOne = await fixture.store.start(topic, endless);
    const asked = await fixture.store.cancel(endlessOne.name);
    assert.equal(asked.cancelRequested, true);
    isError(await fixture.store.wait(endlessOne.name, {}), "CANCELLED");
    isError(await fixture.store.cancel(endlessOne.name), "CANCELLED");
  });

  it("waits no longer than the caller does", async () => {
    await using fixture = await Fixture.open();
    const { name } = await fixture.store.start(topic, endless);
    const abort = new AbortController();
    const waiting = fixture.store.wait(name, { signal: abort.signal });
    abort.abort();
    assert.equal((await waiting).done, false);
    assert.equal((await fixture.store.wait(name, { signal: abort.signal })).done, false);
    assert.equal((await fixture.store.wait(name, { timeoutMs: 0 })).done, false);
  });

  it("lists in the order of the starts, by namespace and kind, page by page", async () => {
    await using fixture = await Fixture.open();
    const names: string[] = [];
    for (let index = 0; index < 7; index += 1) {
      const kind = index % 2 === 0 ? "even" : "odd";
      const { name } = await fixture.store.start({ ...topic, kind }, () =>
        Promise.resolve(undefined),
      );
      names.push(name);
      await fixture.store.wait(name, {});
    }
    names.sort();
    const first = fixture.store.list({ ...page, pageSize: 4 });
    const second = fixture.store.list({ ...page, pageSize: 4, pageToken: first.nextPageToken });
    assert.equal(second.nextPageToken, "");
    assert.deepEqual(
      [...first.operations, ...second.operations].map(({ name }) => name),
      names,
    );
    assert.equal(fixture.store.list({ ...page, kind: "even" }).operations.length, 4);
    assert.equal(fixture.store.list({ ...page, namespace: "other" }).operations.length, 0);
    assert.throws(() => fixture.store.list({ ...page, pageSize: -1 }), {
      reason: "PAGE_SIZE_INVALID",
    });
    assert.throws(
      () => fixture.store.list({ ...page, kind: "odd", pageToken: first.nextPageToken }),
      {
        reason: "PAGE_TOKEN_INVALID",
      },
    );
  });

  it("forgets an operation only once it has ended", async () => {
    await using fixture = await Fixture.open();
    const { name } = await fixture.store.start(topic, endless);
    await assert.rejects(fixture.store.delete(name), { reason: "OPERATION_RUNNING" });
    await fixture.store.cancel(name);
    await fixture.store.wait(name, {});
    await fixture.store.delete(name);
    assert.throws(() => fixture.store.get(name), { reason: "OPERATION_NOT_FOUND" });
    await assert.rejects(fixture.store.cancel(name), { reason: "OPERATION_NOT_FOUND" });
    await assert.rejects(fixture.store.wait("", {}), { reason: "ARGUMENT_MISSING" });
    assert.equal(await fixture.records.get(name), undefined);
  });

  it("goes on after a restart with what was cut, and says of the rest that it failed", async () => {
    await using fixture = await Fixture.open();
    const resumable = await fixture.store.start({ ...topic, kind: "resumable" }, endless);
    const lost = await fixture.store.start({ ...topic, kind: "lost" }, endless);
    const refused = await fixture.store.start({ ...topic, kind: "refused" }, endless);
    await fixture.store.close();
    await assert.rejects(fixture.store.start(topic, endless), { reason: "SHUTTING_DOWN" });
    await fixture.records.write([
      {
        kind: "put",
        id: "operations/0",
        value: create(OperationSchema, {
          name: "operations/0",
          kind: "resumable",
          cancelRequested: true,
        }),
      },
    ]);
    await fixture.reopen();
    assert.equal(fixture.store.get(resumable.name).done, false);
    await fixture.store.resume({
      resumable:
        () =>
        async ({ signal }) => {
          signal.throwIfAborted();
          return answer;
        },
      refused: () => undefined,
    });
    const resumed = await fixture.store.wait(resumable.name, {});
    assert.deepEqual(resumed.result, { case: "response", value: answer });
    isError(fixture.store.get(lost.name), "SHUTTING_DOWN");
    isError(fixture.store.get(refused.name), "SHUTTING_DOWN");
    isError(await fixture.store.wait("operations/0", {}), "CANCELLED");
    await fixture.reopen();
    isError(fixture.store.get(lost.name), "SHUTTING_DOWN");
  });

  it("keeps the last of the ended ones", async () => {
    await using fixture = await Fixture.open();
    await fixture.store.close();
    await fixture.records.write(
      Array.from({ length: endedOperationsMax + 5 }, (_, index) => {
        const name = `operations/${String(index).padStart(6, "0")}`;
        return { kind: "put", id: name, value: create(OperationSchema, { name, done: true }) };
      }),
    );
    await fixture.reopen();
    const { name } = await fixture.store.start(topic, () => Promise.resolve(undefined));
    await fixture.store.wait(name, {});
    await fixture.store.close();
    const kept = await Array.fromAsync(fixture.records.all(), ({ id }) => id);
    assert.equal(kept.length, endedOperationsMax);
    assert.equal(kept[0], "operations/000006");
    assert.equal(kept.at(-1), name);
  });
});
