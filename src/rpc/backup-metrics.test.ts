import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { BackupPolicySchema } from "../gen/collector/backups_pb.ts";
import { BackupMetadataSchema } from "../gen/collector/collection_repo_pb.ts";
import { Metrics } from "./metrics.ts";

const at = (text: string) => timestampFromDate(new Date(text));
const secondsOf = (text: string): string => String(Date.parse(text) / 1000);

function backup(collectionId: string, time: string, verifyError = "") {
  const createTime = at(time);
  return create(BackupMetadataSchema, {
    backupId: `${collectionId} ${time}`,
    collectionId,
    createTime,
    verifyError,
    sizeBytes: 10n,
  });
}

async function samples(metrics: Metrics): Promise<ReadonlyMap<string, string>> {
  const lines = (await metrics.render()).split("\n");
  return new Map(
    lines
      .filter((line) => /^collector_(?:backup|collections)/.test(line))
      .map((line) => [line.slice(0, line.lastIndexOf(" ")), line.slice(line.lastIndexOf(" ") + 1)]),
  );
}

describe("BackupMetrics", () => {
  it("counts outcomes, from zero", async () => {
    const metrics = new Metrics({ version: "0" });
    const before = await samples(metrics);
    assert.equal(before.get('collector_backups_total{outcome="failed"}'), "0");
    metrics.backups.ended("made", 1500, backup("a", "2026-01-01"));
    metrics.backups.ended("failed", 10);
    metrics.backups.removed();
    const after = await samples(metrics);
    assert.equal(after.get('collector_backups_total{outcome="made"}'), "1");
    assert.equal(after.get('collector_backups_total{outcome="failed"}'), "1");
    assert.equal(after.get("collector_backup_bytes_total"), "10");
    assert.equal(after.get("collector_backup_duration_seconds_sum"), "1.5");
    assert.equal(after.get("collector_backups_removed_total"), "1");
  });

  it("tells no moment that has yet to come, unless there is no other", async () => {
    const metrics = new Metrics({ version: "0" });
    const backups = ["a", "b"].map((collectionId) => backup(collectionId, "9999-01-01"));
    backups.push(backup("a", "2026-01-01"));
    metrics.backups.follow({
      backups: () => backups,
      collections: () => ["a", "b"].map((name) => ({ namespace: "n", name, collectionId: name })),
      policies: () => [],
    });
    const told = await samples(metrics);
    const newest = ["a", "b"].map((collection) =>
      told.get(
        `collector_backup_newest_timestamp_seconds{namespace="n",collection="${collection}"}`,
      ),
    );
    assert.deepEqual(newest, [secondsOf("2026-01-01"), secondsOf("9999-01-01")]);
    assert.equal(told.get("collector_collections_without_backup"), "0");
  });

  it("tells the moment of the newest valid backup of each collection that there is, of so many", async () => {
    const metrics = new Metrics({ version: "0" });
    let backups = [backup("a", "2026-01-01"), backup("a", "2026-01-02", "damaged")];
    backups.push(backup("gone", "2026-01-03"));
    const collections = ["a", "b"].map((name) => ({ namespace: "n", name, collectionId: name }));
    metrics.backups.follow({
      backups: () => backups,
      collections: () => collections,
      policies: () => [],
    });
    const name = (collection: string): string =>
      `collector_backup_newest_timestamp_seconds{namespace="n",collection="${collection}"}`;
    const first = await samples(metrics);
    assert.equal(first.get(name("a")), secondsOf("2026-01-01"));
    assert.equal(first.has(name("b")), false);
    assert.equal(first.get("collector_collections_without_backup"), "1");
    assert.deepEqual(
      [first.get("collector_backups"), first.get("collector_backups_bytes")],
      ["3", "30"],
    );
    backups = [...backups, backup("b", "2026-01-04")];
    collections.shift();
    for (let number = 0; number < 1500; number += 1) {
      backups.push(backup(`c${number}`, "2026-01-05"));
      collections.push({ namespace: "n", name: `c${number}`, collectionId: `c${number}` });
    }
    const second = await samples(metrics);
    assert.equal(second.get(name("b")), secondsOf("2026-01-04"));
    assert.equal(second.has(name("a")), false);
    assert.equal(second.get("collector_collections_without_backup"), "0");
    assert.equal([...second.keys()].filter((key) => key.includes("newest")).length, 1000);
  });

  it("tells when policies ran, and whether the last run that ended went well", async () => {
    const metrics = new Metrics({ version: "0" });
    const [first, second, third] = ["2026-01-01", "2026-01-02", "2026-01-03"] as const;
    type Runs = NonNullable<MessageInitShape<typeof BackupPolicySchema>["runs"]>;
    const policy = (name: string, runs: Runs) => create(BackupPolicySchema, { name, runs });
    const good = { startTime: at(first), endTime: at(first) };
    const bad = { startTime: at(second), endTime: at(second), errors: ["it failed"] };
    const cut = { startTime: at(third), errors: ["it was cut"] };
    const underWay = { startTime: at(third) };
    const pruned = { startTime: at(third), endTime: at(third), pruneOnly: true };
    const policies = [
      policy("fresh", []),
      policy("good", [pruned, good]),
      policy("bad", [underWay, bad, good]),
      policy("cut", [cut, good]),
    ];
    metrics.backups.follow({ backups: () => [], collections: () => [], policies: () => policies });
    const found = await samples(metrics);
    const of = (name: string) =>
      ["last_run_timestamp_seconds", "last_success_timestamp_seconds", "failed"].map((what) =>
        found.get(`collector_backup_policy_${what}{policy="${name}"}`),
      );
    const [one, two, three] = [first, second, third].map(secondsOf);
    assert.ok(two !== undefined);
    assert.deepEqual(of("fresh"), [undefined, undefined, undefined]);
    assert.deepEqual(of("good"), [one, one, "0"]);
    assert.deepEqual(of("bad"), [three, one, "1"]);
    assert.deepEqual(of("cut"), [three, one, "1"]);
  });
});
