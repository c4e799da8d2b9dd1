import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { fromBinary } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { ConnectError } from "@connectrpc/connect";
import { type BackupPolicy, BackupPolicySchema } from "../../src/gen/collector/backups_pb.ts";
import { Status_Code } from "../../src/gen/collector/common_pb.ts";
import { type Collector, createCollector } from "../../src/server.ts";
import { reasonOf } from "../support/found.ts";
import { noteItem } from "../support/notes.ts";
import { ServerProcess } from "../support/server-process.ts";
import { type TempFolder, tempFolder } from "../support/temp-folder.ts";
import { TestClient } from "../support/test-client.ts";
import { waitUntil } from "../support/wait.ts";

const hourly = {
  name: "hourly",
  namespace: "default",
  schedule: { case: "interval", value: durationFromMs(3_600_000) },
} as const;

/** A folder, and a server on it. */
class Site implements AsyncDisposable {
  readonly folder: TempFolder;
  collector!: Collector;
  client!: TestClient;

  private constructor(folder: TempFolder) {
    this.folder = folder;
  }

  static async open(): Promise<Site> {
    const site = new Site(await tempFolder("policies"));
    await site.start();
    return site;
  }

  async start(): Promise<void> {
    this.collector = await createCollector({ data: this.folder.path, port: 0, logLevel: "silent" });
    this.client = new TestClient(this.collector.url);
  }

  async stop(): Promise<void> {
    this.client[Symbol.dispose]();
    await this.collector.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await this.folder[Symbol.asyncDispose]();
  }
}

async function fill(client: TestClient, names: readonly string[]): Promise<void> {
  await client.registerNotes();
  for (const collectionName of names) {
    await client.createNotes(collectionName);
    for (let number = 0; number < 5; number += 1) {
      await client.records.create({ collectionName, item: noteItem(number) });
    }
  }
}

/** The policy once so many runs have begun, and the newest has ended. */
async function afterRuns(client: TestClient, name: string, count: number): Promise<BackupPolicy> {
  const get = () => client.backups.getBackupPolicy({ name });
  await waitUntil(`${name} has run`, 180_000, async () => {
    const { runs } = await get();
    return runs.length >= count && runs[0]?.endTime !== undefined;
  });
  return await get();
}

async function reasonOfFailure(call: Promise<unknown>): Promise<string> {
  return await call.then(
    () => "none",
    (error: unknown) => reasonOf(ConnectError.from(error)) ?? "",
  );
}

describe("backup policies, over sockets", () => {
  it("back up by themselves, and are records of `system`", async () => {
    await using site = await Site.open();
    const { client } = site;
    await fill(client, ["products", "orders"]);
    const metadata = { team: "ops" };
    await client.backups.putBackupPolicy({ policy: { ...hourly, metadata } });
    const policy = await afterRuns(client, "hourly", 1);
    const [run] = policy.runs;
    assert.deepEqual([run?.madeCount, run?.errors], [2, []]);
    const startS = Number(run?.startTime?.seconds);
    assert.equal(Number(policy.nextRunTime?.seconds), startS + 3600);
    const { backups } = await client.repo.listBackups({});
    assert.deepEqual(
      backups.map((backup) => [backup.policy, backup.metadata, backup.recordCount]),
      [
        ["hourly", metadata, 5n],
        ["hourly", metadata, 5n],
      ],
    );
    for (const { backupId } of backups) {
      assert.ok((await client.repo.verifyBackup({ backupId })).isValid);
    }
    const place = { namespace: "system", collectionName: "policies" };
    const { items } = await client.records.list(place);
    const [item] = items;
    assert.ok(item !== undefined);
    assert.equal(fromBinary(BackupPolicySchema, item.value).runs[0]?.madeCount, 2);
    assert.equal((await client.records.search({ ...place, fullText: "ops" })).results.length, 1);
    const write = client.records.delete({ ...place, id: "hourly" });
    assert.equal(await reasonOfFailure(write), "SYSTEM_READ_ONLY");
    const { operations } = await client.operations.listOperations({ kind: "backup-policy" });
    assert.deepEqual(
      operations.map(({ subject, done, result }) => [subject, done, result.case]),
      [["policies/hourly", true, "response"]],
    );
    await site.stop();
    await site.start();
    const { policies } = await site.client.backups.listBackupPolicies({});
    assert.deepEqual(
      policies.map(({ name, runs }) => [name, runs.length]),
      [["hourly", 1]],
    );
  });

  it("make sets of the whole server that can be restored, and keep so many", async () => {
    await using site = await Site.open();
    const { client } = site;
    await fill(client, ["products", "orders"]);
    const policy = { name: "whole", wholeServer: true, retention: { keepLast: 1 } };
    await client.backups.putBackupPolicy({ policy });
    await client.backups.runBackupPolicy({ name: "whole" });
    const { run } = await client.backups.runBackupPolicy({ name: "whole" });
    assert.deepEqual([run?.madeCount, run?.deletedCount, run?.errors], [3, 3, []]);
    const setId = run?.setId ?? "";
    const { backups } = await client.repo.listBackups({});
    assert.deepEqual(
      backups.map((backup) => [backup.policy, backup.setId]),
      [0, 1, 2].map(() => ["whole", setId]),
    );
    // The folder of the other set went with what was in it.
    assert.deepEqual(await readdir(join(site.folder.path, "backups")), [setId]);
    await client.admin.deleteCollection({ collection: { name: "orders" } });
    const { restored } = await client.backups.restoreServer({ setId });
    assert.deepEqual(
      restored.map(({ collection, status }) => [collection?.name, status?.code]),
      [
        [undefined, Status_Code.OK],
        ["orders", Status_Code.OK],
        ["products", Status_Code.ALREADY_EXISTS],
      ],
    );
  });

  it("remove what they do not keep, and say so beforehand", async () => {
    await using site = await Site.open();
    const { backups } = site.client;
    await fill(site.client, ["products"]);
    const policy = { name: "p", collectionName: "products", retention: { keepLast: 2 } };
    const put = await backups.putBackupPolicy({ policy });
    assert.equal(put.namespace, "default");
    const name = "p";
    const made: string[] = [];
    for (let round = 0; round < 3; round += 1) {
      const foretold = await backups.runBackupPolicy({ name, validateOnly: true });
      const { run, operation } = await backups.runBackupPolicy({ name });
      assert.deepEqual(run?.deletedBackupIds, foretold.run?.deletedBackupIds);
      assert.deepEqual(run?.deletedBackupIds, round < 2 ? [] : [made[0]]);
      assert.equal(operation?.kind, "backup-policy");
      made.push(run?.backupIds[0] ?? "");
    }
    const files = await readdir(join(site.folder.path, "backups"));
    assert.deepEqual(new Set(files), new Set(made.slice(1).map((id) => `${id}.collector`)));
    await backups.putBackupPolicy({ policy: { ...policy, retention: { keepLast: 1 } } });
    const { run } = await backups.runBackupPolicy({ name, pruneOnly: true });
    assert.deepEqual([run?.deletedBackupIds, run?.backupIds], [[made[1]], []]);
    await backups.deleteBackupPolicy({ name });
    assert.equal(await reasonOfFailure(backups.getBackupPolicy({ name })), "POLICY_NOT_FOUND");
    assert.equal(await reasonOfFailure(backups.runBackupPolicy({ name })), "POLICY_NOT_FOUND");
    assert.equal((await site.client.repo.listBackups({})).backups.length, 1);
  });

  it("make chains of incremental backups, and keep what these need", async () => {
    await using site = await Site.open();
    const { client } = site;
    await fill(client, ["products"]);
    const policy = {
      name: "p",
      collectionName: "products",
      retention: { keepLast: 1 },
      incremental: true,
      fullEvery: 2,
    };
    await client.backups.putBackupPolicy({ policy });
    const counts: number[] = [];
    for (let number = 5; number < 10; number += 1) {
      const { run } = await client.backups.runBackupPolicy({ name: "p" });
      assert.deepEqual(run?.errors, []);
      counts.push((await client.repo.listBackups({})).backups.length);
      await client.records.create({ collectionName: "products", item: noteItem(number) });
    }
    assert.deepEqual(counts, [1, 2, 3, 1, 2]);
    const [newest] = (await client.repo.listBackups({})).backups;
    assert.ok((await client.repo.verifyBackup({ backupId: newest?.backupId ?? "" })).isValid);
  });

  it("name the field that is wrong", async () => {
    await using site = await Site.open();
    const { backups } = site.client;
    const bad = (policy: Parameters<typeof backups.putBackupPolicy>[0]["policy"]) =>
      backups.putBackupPolicy({ policy: { ...hourly, ...policy } }).then(
        () => assert.fail("it was not refused"),
        (error: unknown) => ConnectError.from(error).rawMessage,
      );
    const cron = { case: "cron", value: "0 3 * *" } as const;
    assert.match(await bad({ schedule: cron }), /policy\.cron: has 4 fields/);
    assert.match(await bad({ fullEvery: -1 }), /policy\.full_every: is -1/);
    const { policies } = await backups.listBackupPolicies({});
    assert.deepEqual(policies, []);
    const checked = await backups.putBackupPolicy({ policy: hourly, validateOnly: true });
    assert.equal(checked.name, "hourly");
    assert.equal(
      await reasonOfFailure(backups.getBackupPolicy({ name: "hourly" })),
      "POLICY_NOT_FOUND",
    );
  });

  it("leave backups alone until their own retention is over", async () => {
    await using site = await Site.open();
    await fill(site.client, ["products"]);
    const collection = { name: "products" };
    const backUp = async (retention: string) => {
      const request = { collection, metadata: { retention } };
      return (await site.client.repo.backupCollection(request)).backup?.backupId;
    };
    const short = await backUp("1s");
    const long = await backUp("30d");
    const last = await backUp("1s");
    const newest = await backUp("soon");
    await waitUntil("they are gone", 60_000, async () => {
      await site.stop();
      await site.start();
      return (await site.client.repo.listBackups({})).backups.length === 2;
    });
    const { backups } = await site.client.repo.listBackups({});
    assert.deepEqual(
      backups.map(({ backupId }) => backupId),
      [newest, long],
    );
    assert.ok(short !== undefined && last !== undefined);
  });
});

for (const kill of ["SIGTERM", "SIGKILL"] as const) {
  describe(`a run that ${kill} cuts`, () => {
    it("leaves whole backups, is told as such, and is made again", async () => {
      await using folder = await tempFolder("policies-cut");
      // So many that a run of them is not over before its server is told to stop.
      const names = Array.from({ length: 80 }, (_, number) => `c${number}`);
      await using first = await ServerProcess.start({ dataFolder: folder.path });
      {
        using client = new TestClient(first.url);
        await fill(client, names);
        await client.backups.putBackupPolicy({ policy: hourly });
        // Not by a call: the server may answer it late, when all of them are made.
        await waitUntil("a backup is made", 60_000, async () => {
          return (await readdir(join(folder.path, "backups"))).length > 0;
        });
      }
      const exit = kill === "SIGTERM" ? await first.stop() : await first.kill();
      if (kill === "SIGTERM") assert.deepEqual(exit, { code: 0, signal: null });
      await using second = await ServerProcess.start({ dataFolder: folder.path });
      using client = new TestClient(second.url);
      const { runs } = await afterRuns(client, "hourly", 2);
      const [again, cut] = runs;
      assert.deepEqual(cut?.errors, ["the server stopped before the run had ended"]);
      assert.ok((cut?.madeCount ?? 0) < names.length);
      assert.deepEqual([again?.madeCount, again?.errors], [names.length, []]);
      const { backups } = await client.repo.listBackups({});
      assert.equal(backups.length, names.length + (cut?.madeCount ?? 0));
      const files = await readdir(join(folder.path, "backups"));
      assert.deepEqual(new Set(files), new Set(backups.map(({ storagePath }) => storagePath)));
      for (const { backupId } of backups.slice(-3)) {
        assert.ok((await client.repo.verifyBackup({ backupId })).isValid);
      }
    });
  });
}
