import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromDate } from "@bufbuild/protobuf/wkt";
import { CollectorError } from "../../errors.ts";
import { BackupPolicy_RunSchema, BackupPolicySchema } from "../../gen/collector/backups_pb.ts";
import { hourly, nightly, PoliciesFixture } from "../testing/policies-fixture.ts";

describe("BackupPolicies", () => {
  it("keeps policies, durably, and lists them by name", async () => {
    await using fixture = await PoliciesFixture.open();
    await fixture.put({ ...nightly, metadata: { team: "ops" } });
    await fixture.put(hourly);
    assert.equal(fixture.next("nightly"), "2026-11-28T03:00:00.000Z");
    await fixture.start();
    assert.deepEqual(fixture.policies.get("nightly").metadata, { team: "ops" });
    const first = fixture.policies.list({ pageSize: 1, pageToken: "" });
    const { nextPageToken } = first;
    const second = fixture.policies.list({ pageSize: 1, pageToken: nextPageToken });
    assert.deepEqual(
      [...first.policies, ...second.policies].map(({ name }) => name),
      ["hourly", "nightly"],
    );
    assert.equal(second.nextPageToken, "");
    await fixture.policies.delete("hourly", false);
    await assert.rejects(fixture.policies.delete("hourly", false), { reason: "POLICY_NOT_FOUND" });
    await fixture.policies.delete("hourly", true);
    assert.throws(() => fixture.policies.get("hourly"), { reason: "POLICY_NOT_FOUND" });
    await fixture.start();
    assert.throws(() => fixture.policies.get("hourly"), { reason: "POLICY_NOT_FOUND" });
  });

  it("keeps no more policies than the limit", async () => {
    await using fixture = await PoliciesFixture.open(undefined, { policiesMax: 1 });
    await fixture.put(nightly);
    await assert.rejects(fixture.put(hourly), { reason: "QUOTA_EXCEEDED", message: /policiesMax/ });
    await fixture.put({ ...nightly, suspended: true });
  });

  it("names every field that is at fault", async () => {
    await using fixture = await PoliciesFixture.open();
    const policy = create(BackupPolicySchema, {
      name: "no/name",
      namespace: "system",
      schedule: { case: "cron", value: "0 99 * * *" },
      retention: { keepLast: -1, keepDaily: -2, keepWithin: durationFromMs(-1000) },
      fullEvery: 32,
      metadata: { retention: "30 days" },
    });
    const fields = [
      "policy.name",
      "policy.namespace",
      "policy.cron",
      "policy.retention.keep_last",
      "policy.retention.keep_within",
      "policy.retention.keep_daily",
      "policy.full_every",
      'policy.metadata["retention"]',
    ];
    await assert.rejects(fixture.policies.put(policy, false), (error: unknown) => {
      assert.ok(error instanceof CollectorError);
      assert.deepEqual(
        error.violations.map(({ field }) => field),
        fields,
      );
      assert.match(error.message, /field 2 \(hour\), `99`/);
      return true;
    });
    const interval = { case: "interval", value: durationFromMs(59_999) } as const;
    await assert.rejects(fixture.put({ name: "a", schedule: interval }), { message: /60 s/ });
    await assert.rejects(fixture.put({ name: "" }), { reason: "ARGUMENT_MISSING" });
    const never = { case: "cron", value: "0 0 30 2 *" } as const;
    await assert.rejects(fixture.put({ name: "a", schedule: never }), { message: /never comes/ });
    for (const policy of [
      { ...nightly, timeZone: "Mars/Olympus" },
      { ...hourly, timeZone: "Europe/Berlin" },
      { name: "a", timeZone: "Europe/Berlin" },
    ]) {
      await assert.rejects(fixture.put(policy), (error: unknown) => {
        assert.ok(error instanceof CollectorError && error.reason === "ARGUMENT_INVALID");
        const [violation] = error.violations;
        assert.equal(violation?.field, "policy.time_zone");
        return true;
      });
    }
    await assert.rejects(fixture.put({ name: "a", namespace: "shop", wholeServer: true }), {
      message: /policy\.whole_server: and namespace/,
    });
    await assert.rejects(fixture.policies.put(undefined, false), { reason: "ARGUMENT_MISSING" });
  });

  it("only checks if it is told so", async () => {
    await using fixture = await PoliciesFixture.open();
    const checked = await fixture.policies.put(create(BackupPolicySchema, nightly), true);
    assert.notEqual(checked.nextRunTime, undefined);
    assert.throws(() => fixture.policies.get("nightly"), { reason: "POLICY_NOT_FOUND" });
  });

  it("runs when it is due, not before, and tells how it went", async () => {
    await using fixture = await PoliciesFixture.open("2026-11-27T02:59:59.999Z");
    await fixture.put({ ...nightly, metadata: { note: "x" } });
    await fixture.look();
    assert.deepEqual(fixture.ids, []);
    fixture.clock.set("2026-11-27T03:00:00Z");
    await fixture.look();
    assert.equal(fixture.ids.length, 2);
    await fixture.look();
    assert.equal(fixture.ids.length, 2);
    const { runs } = fixture.policies.get("nightly");
    assert.equal(runs.length, 1);
    const [run] = runs;
    assert.deepEqual([run?.madeCount, run?.backupIds.length, run?.errors], [2, 2, []]);
    assert.equal(run?.bytesWritten, 22n);
    assert.notEqual(run?.endTime, undefined);
    assert.equal(fixture.next("nightly"), "2026-11-28T03:00:00.000Z");
    const [backup] = fixture.backups.all();
    assert.deepEqual([backup?.policy, backup?.metadata], ["nightly", { note: "x" }]);
    const [operation] = fixture.operations.list({
      namespace: "",
      kind: "backup-policy",
      pageSize: 0,
      pageToken: "",
    }).operations;
    assert.deepEqual([operation?.subject, operation?.done], ["policies/nightly", true]);
  });

  it("makes the other backups if one fails, says what went wrong, and tries again when it is due", async () => {
    await using fixture = await PoliciesFixture.open("2026-11-27T03:00:00Z");
    fixture.backups.failures.set("orders", new CollectorError("DISK_FULL", "the disk is full"));
    await fixture.put({ ...nightly, namespace: "" });
    fixture.clock.set("2026-11-28T03:00:00Z");
    await fixture.look();
    const [failed] = fixture.policies.get("nightly").runs;
    assert.deepEqual(failed?.errors, ["shop/orders: the disk is full"]);
    assert.equal(failed?.madeCount, 2);
    await fixture.look();
    fixture.backups.failures.clear();
    fixture.clock.set("2026-11-29T03:00:00Z");
    await fixture.look();
    assert.deepEqual(
      fixture.policies.get("nightly").runs.map(({ errors }) => errors.length),
      [0, 1],
    );
  });

  it("tells nobody but the log what an unexpected failure was", async () => {
    await using fixture = await PoliciesFixture.open();
    fixture.backups.failures.set("orders", new Error("EIO at a secret path"));
    await fixture.put(nightly);
    const { errors } = await fixture.run("nightly");
    assert.deepEqual(errors, ["shop/orders: the server failed; its log has the details"]);
  });

  it("says so if there is nothing in its reach", async () => {
    await using fixture = await PoliciesFixture.open();
    await fixture.put({ name: "a", namespace: "nowhere" });
    await fixture.put({ name: "b", namespace: "shop", collectionName: "nothing" });
    assert.deepEqual((await fixture.run("a")).errors, ["namespace nowhere has no collection"]);
    const { errors } = await fixture.run("b");
    assert.deepEqual(errors, ["namespace shop has no collection nothing"]);
    fixture.collections.length = 0;
    await fixture.put({ name: "c" });
    assert.deepEqual((await fixture.run("c")).errors, []);
  });

  it("remembers the last 20 runs, and of long ones the beginning", async () => {
    await using fixture = await PoliciesFixture.open();
    for (let number = 0; number < 150; number += 1) fixture.collections.push(`many/c${number}`);
    await fixture.put({ name: "many", namespace: "many" });
    assert.equal((await fixture.run("many")).backupIds.length, 150);
    const [run] = fixture.policies.get("many").runs;
    assert.deepEqual([run?.backupIds.length, run?.madeCount], [100, 150]);
    for (let number = 0; number < 150; number += 1) {
      fixture.backups.failures.set(`c${number}`, new CollectorError("DISK_FULL", "full"));
    }
    assert.equal((await fixture.run("many")).errors.length, 150);
    const [failed] = fixture.policies.get("many").runs;
    assert.deepEqual([failed?.errors.length, failed?.errors.at(-1)], [21, "and 130 more"]);
    for (let number = 0; number < 25; number += 1) await fixture.run("many", true);
    assert.equal(fixture.policies.get("many").runs.length, 20);
  });

  it("never runs twice at a time, and no more of them than the limit", async () => {
    await using fixture = await PoliciesFixture.open();
    const { promise, resolve } = Promise.withResolvers<void>();
    fixture.backups.gate = promise;
    for (const name of ["a", "b", "c", "d"]) await fixture.put({ ...hourly, name });
    await fixture.policies.look();
    await assert.rejects(fixture.run("a"), { reason: "OPERATION_RUNNING" });
    assert.throws(() => fixture.policies.topicOf("a"), { reason: "OPERATION_RUNNING" });
    await fixture.policies.look();
    resolve();
    await fixture.policies.settled();
    assert.equal(fixture.ids.length, 4);
    assert.equal(fixture.backups.runningMax, 2);
  });

  it("makes a run again that a stop has cut, once", async () => {
    await using fixture = await PoliciesFixture.open();
    await fixture.put(nightly);
    for (const [time, expected] of [
      ["2026-11-28T03:00:00Z", "2026-11-28T03:00:00.000Z"],
      ["2026-11-28T04:00:00Z", "2026-11-29T03:00:00.000Z"],
    ] as const) {
      fixture.clock.set(time);
      fixture.backups.gate = new Promise(() => undefined);
      await fixture.policies.look();
      while (fixture.policies.get("nightly").runs[0]?.endTime !== undefined)
        await new Promise(setImmediate);
      await fixture.policies[Symbol.asyncDispose]();
      const [cut] = fixture.policies.get("nightly").runs;
      assert.deepEqual(cut?.errors, ["the server stopped before the run had ended"]);
      assert.equal(cut?.endTime, undefined);
      assert.equal(fixture.next("nightly"), expected);
      await fixture.start();
    }
    fixture.backups.gate = Promise.resolve();
    await fixture.look();
    assert.deepEqual(fixture.ids, []);
    fixture.clock.set("2026-11-29T03:00:00Z");
    await fixture.look();
    assert.equal(fixture.ids.length, 2);
  });

  it("tells of a run that a crash has cut, and what that had made", async () => {
    await using fixture = await PoliciesFixture.open("2026-11-28T03:00:00Z");
    const due = await fixture.put({ ...nightly });
    const startTime = timestampFromDate(new Date("2026-11-28T03:00:00Z"));
    const crashed = create(BackupPolicySchema, {
      ...due,
      runs: [create(BackupPolicy_RunSchema, { startTime })],
      nextRunTime: startTime,
    });
    await fixture.records.write([{ kind: "put", id: "nightly", value: crashed }]);
    const made = await fixture.backups.put({
      collection: { namespace: "shop", name: "products" },
      policy: "nightly",
    });
    await fixture.start();
    const [cut] = fixture.policies.get("nightly").runs;
    assert.deepEqual(cut?.backupIds, [made.backupId]);
    assert.deepEqual(cut?.errors, ["the server stopped before the run had ended"]);
    fixture.clock.passMs(60_000);
    await fixture.look();
    assert.equal(fixture.policies.get("nightly").runs.length, 2);
    assert.equal(fixture.next("nightly"), "2026-11-29T03:00:00.000Z");
  });

  it("makes the backups of a run side by side, as many as there may be copies", async () => {
    await using fixture = await PoliciesFixture.open(undefined, { copiesMax: 4 });
    for (let number = 0; number < 10; number += 1) fixture.collections.push(`many/c${number}`);
    fixture.backups.failures.set("c3", new CollectorError("DISK_FULL", "full"));
    fixture.backups.gate = sleep(20);
    await fixture.put({ name: "many", namespace: "many" });
    const { madeCount, errors } = await fixture.run("many");
    assert.deepEqual([madeCount, errors], [9, ["many/c3: full"]]);
    assert.equal(fixture.backups.runningMax, 4);
  });

  it("ends a run that is cancelled, and keeps what it has made", async () => {
    await using fixture = await PoliciesFixture.open(undefined, { copiesMax: 1 });
    await fixture.put(nightly);
    const abort = new AbortController();
    const run = fixture.policies.run("nightly", false, {
      signal: abort.signal,
      report: ({ done }) => {
        if (done === 1n) abort.abort(new CollectorError("CANCELLED", "enough"));
      },
    });
    await assert.rejects(run, { reason: "CANCELLED" });
    const [cancelled] = fixture.policies.get("nightly").runs;
    assert.deepEqual([cancelled?.madeCount, cancelled?.errors], [1, ["the run was cancelled"]]);
    assert.notEqual(cancelled?.endTime, undefined);
    assert.equal((await fixture.run("nightly")).madeCount, 2);
  });

  it("is based on its own backups, and makes everything anew after so many", async () => {
    await using fixture = await PoliciesFixture.open();
    await fixture.backups.put({ collection: { namespace: "shop", name: "products" } });
    const chain = { ...hourly, incremental: true, fullEvery: 2 };
    await fixture.put(chain);
    for (let round = 0; round < 7; round += 1) await fixture.run("hourly");
    const bases = fixture.backups
      .all()
      .toReversed()
      .map(({ baseBackupId }) => baseBackupId.slice(-1));
    assert.deepEqual(bases, ["", "", "2", "3", "", "5", "6", ""]);
    fixture.backups.condemn(fixture.ids[0] ?? "");
    await fixture.run("hourly");
    assert.equal(fixture.backups.all()[0]?.baseBackupId, "");
    await fixture.put({ ...chain, excludeFiles: true });
    await fixture.run("hourly");
    assert.equal(fixture.backups.all()[0]?.baseBackupId, "");
  });

  it("is based on no backup that the clock made when it was ahead", async () => {
    await using fixture = await PoliciesFixture.open("2027-11-27T03:00:00Z");
    await fixture.put({ ...hourly, incremental: true, fullEvery: 2 });
    await fixture.run("hourly");
    fixture.clock.set("2026-11-27T03:00:00Z");
    for (let round = 0; round < 7; round += 1) {
      await fixture.run("hourly");
      fixture.clock.passMs(1000);
    }
    const bases = fixture.backups
      .all()
      .slice(1)
      .toReversed()
      .map(({ baseBackupId }) => baseBackupId.slice(-1));
    assert.deepEqual(bases, ["", "2", "3", "", "5", "6", ""]);
  });
});
