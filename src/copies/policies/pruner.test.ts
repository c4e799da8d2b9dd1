import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { durationFromMs, timestampFromDate } from "@bufbuild/protobuf/wkt";
import { CollectorError } from "../../errors.ts";
import { PoliciesFixture } from "../testing/policies-fixture.ts";

const collection = { namespace: "shop", name: "products" };
const policy = { name: "p", namespace: "shop", collectionName: "products" };
const keepOne = { ...policy, retention: { keepLast: 1 } };
const dayMs = 86_400_000;

describe("what runs of policies remove", () => {
  it("is what the rules do not keep, of its own backups", async () => {
    await using fixture = await PoliciesFixture.open();
    const { backups, clock } = fixture;
    const manual = await backups.put({ collection });
    const other = await backups.put({ collection, policy: "other" });
    await fixture.put(keepOne);
    const first = await fixture.run("p");
    clock.passMs(dayMs);
    const second = await fixture.run("p");
    assert.deepEqual(second.deletedBackupIds, first.backupIds);
    assert.deepEqual(fixture.ids, [...second.backupIds, other.backupId, manual.backupId]);
    const { runs } = fixture.policies.get("p");
    assert.deepEqual([runs[0]?.deletedCount, runs[1]?.deletedCount], [1, 0]);
  });

  it("counts what callers made if it is told so, but no set and nothing with a time of its own", async () => {
    await using fixture = await PoliciesFixture.open();
    const { backups } = fixture;
    const manual = await backups.put({ collection });
    const inSet = await backups.put({ collection, setId: "set" });
    const forever = await backups.put({ collection, metadata: { retention: "forever" } });
    const elsewhere = await backups.put({ collection: { namespace: "lab", name: "notes" } });
    await fixture.put({ ...keepOne, includeManual: true });
    fixture.clock.passMs(1);
    const { deletedBackupIds, backupIds } = await fixture.run("p");
    assert.deepEqual(deletedBackupIds, [manual.backupId]);
    const rest = [elsewhere, forever, inSet].map(({ backupId }) => backupId);
    assert.deepEqual(fixture.ids, [...backupIds, ...rest]);
  });

  it("makes no backups if it is told so", async () => {
    await using fixture = await PoliciesFixture.open();
    await fixture.put(policy);
    await fixture.run("p");
    fixture.clock.passMs(dayMs);
    await fixture.run("p");
    await fixture.put({ ...keepOne, schedule: { case: "cron", value: "0 3 * * *" } });
    const run = await fixture.run("p", true);
    assert.deepEqual([run.madeCount, run.deletedCount, run.pruneOnly], [0, 1, true]);
    assert.equal(fixture.next("p"), "2026-11-29T03:00:00.000Z");
  });

  it("is said beforehand, with what the run would make", async () => {
    await using fixture = await PoliciesFixture.open();
    for (const incremental of [false, true]) {
      await fixture.put({ ...keepOne, incremental, fullEvery: 2 });
      for (let round = 0; round < 8; round += 1) {
        for (const pruneOnly of [true, false]) {
          const before = fixture.ids;
          const foretold = await fixture.policies.rehearse("p", pruneOnly);
          assert.deepEqual(fixture.ids, before);
          const { deletedBackupIds } = await fixture.run("p", pruneOnly);
          assert.deepEqual(foretold.deletedBackupIds, deletedBackupIds);
          fixture.clock.passMs(dayMs);
        }
      }
      await fixture.put({ ...policy, retention: { keepWithin: durationFromMs(dayMs * 3) } });
      const foretold = await fixture.policies.rehearse("p", false);
      const { deletedBackupIds } = await fixture.run("p");
      assert.deepEqual(foretold.deletedBackupIds, deletedBackupIds);
    }
  });

  it("is never the newest valid backup, whatever is newer, nor what is being read", async () => {
    await using fixture = await PoliciesFixture.open();
    const { backups, clock } = fixture;
    const within = { ...policy, retention: { keepWithin: durationFromMs(1) } };
    await fixture.put(within);
    const made = [];
    for (let round = 0; round < 4; round += 1) {
      made.push((await backups.put({ collection, policy: "p" })).backupId);
      clock.passMs(dayMs);
    }
    const [first = "", second = "", third = "", fourth = ""] = made;
    backups.condemn(fourth);
    backups.held.add(first);
    const { deletedBackupIds, errors } = await fixture.run("p", true);
    assert.deepEqual([deletedBackupIds, errors], [[fourth, second], []]);
    assert.deepEqual(fixture.ids, [third, first]);
  });

  it("does not rely on an archive that is not there, or cut short", async () => {
    await using fixture = await PoliciesFixture.open();
    await fixture.put({ ...policy, retention: { keepWithin: durationFromMs(1) } });
    const { backups, clock } = fixture;
    const sound = await backups.put({ collection, policy: "p" });
    clock.passMs(dayMs);
    const cut = await backups.put({ collection, policy: "p" });
    await backups.damage(cut.backupId);
    clock.passMs(dayMs);
    assert.deepEqual((await fixture.run("p", true)).deletedBackupIds, [cut.backupId]);
    assert.deepEqual(fixture.ids, [sound.backupId]);
    for (let round = 0; round < 12; round += 1) {
      clock.passMs(dayMs);
      await backups.damage((await backups.put({ collection, policy: "p" })).backupId);
    }
    const { deletedBackupIds, errors } = await fixture.run("p", true);
    assert.deepEqual(deletedBackupIds, []);
    assert.match(errors.join(), /so many archives are missing/);
  });

  it("is no new backup for the sake of those that a clock that was ahead has made", async () => {
    await using fixture = await PoliciesFixture.open("2027-11-27T03:00:00Z");
    const { clock } = fixture;
    const keepTwo = { ...policy, retention: { keepLast: 2 } };
    await fixture.put(keepTwo);
    const ahead: string[] = [];
    for (let round = 0; round < 2; round += 1) {
      ahead.unshift(...(await fixture.run("p")).backupIds);
      clock.passMs(dayMs);
    }
    clock.set("2026-11-27T03:00:00Z");
    const made: string[] = [];
    for (let round = 0; round < 4; round += 1) {
      const foretold = await fixture.policies.rehearse("p", false);
      const run = await fixture.run("p");
      assert.deepEqual(run.deletedBackupIds, made.slice(1, 2));
      assert.deepEqual(foretold.deletedBackupIds, run.deletedBackupIds);
      made.unshift(...run.backupIds);
      assert.deepEqual(fixture.ids, [...ahead, ...made.slice(0, 2)]);
      clock.passMs(dayMs);
    }
    clock.set("2027-12-27T03:00:00Z");
    const { backupIds } = await fixture.run("p");
    assert.deepEqual(fixture.ids, [...backupIds, ...ahead.slice(0, 1)]);
  });

  it("is nothing of a policy that was removed meanwhile", async () => {
    await using fixture = await PoliciesFixture.open();
    const { promise, resolve } = Promise.withResolvers<void>();
    await fixture.put(keepOne);
    await fixture.run("p");
    fixture.clock.passMs(dayMs);
    fixture.backups.gate = promise;
    const run = fixture.run("p");
    await fixture.policies.delete("p", false);
    resolve();
    assert.equal((await run).deletedCount, 0);
    assert.equal(fixture.ids.length, 2);
  });
});

describe("what runs of a policy for the whole server remove", () => {
  const whole = { name: "whole", wholeServer: true, retention: { keepLast: 2 } };
  /** The sets that are there, the newest first, and how many backups of each. */
  const setsOf = ({ backups }: PoliciesFixture): (readonly [string, number])[] =>
    Array.from(
      Map.groupBy(backups.all(), ({ setId }) => setId),
      ([setId, members]) => [setId, members.length] as const,
    );

  it("are sets, each as a whole and with its registry", async () => {
    await using fixture = await PoliciesFixture.open();
    await fixture.put(whole);
    for (let round = 1; round <= 4; round += 1) {
      const foretold = await fixture.policies.rehearse("whole", false);
      const run = await fixture.run("whole");
      assert.deepEqual([run.madeCount, run.setId, run.errors], [4, `set ${round}`, []]);
      assert.deepEqual(foretold.deletedBackupIds, run.deletedBackupIds);
      fixture.clock.passMs(dayMs);
    }
    assert.deepEqual(setsOf(fixture), [
      ["set 4", 4],
      ["set 3", 4],
    ]);
    assert.equal(fixture.policies.get("whole").runs[0]?.setId, "set 4");
  });

  it("are not split by the end of a day that comes while a set is made", async () => {
    await using fixture = await PoliciesFixture.open("2026-11-27T23:59:00Z");
    const { backups, clock } = fixture;
    await fixture.put({ ...whole, retention: { keepDaily: 2 } });
    for (const setId of ["a", "b", "c"]) {
      await backups.put({ collection, policy: "whole", setId });
      clock.passMs(2 * 60_000);
      await backups.putRegistry({ policy: "whole", setId });
      clock.passMs(dayMs - 2 * 60_000);
    }
    await fixture.run("whole", true);
    assert.deepEqual(setsOf(fixture), [
      ["c", 2],
      ["b", 2],
    ]);
  });

  it("never are the newest valid backups, whatever was cut or found wrong since", async () => {
    await using fixture = await PoliciesFixture.open();
    const { backups, clock } = fixture;
    await fixture.put({ ...whole, retention: { keepLast: 1 } });
    await fixture.run("whole");
    clock.passMs(dayMs);
    // Cut before its registry was written.
    await backups.put({ collection, policy: "whole", setId: "cut" });
    clock.passMs(dayMs);
    assert.equal((await fixture.run("whole", true)).deletedCount, 0);
    backups.failures.set("orders", new CollectorError("DISK_FULL", "full"));
    const { errors } = await fixture.run("whole");
    assert.deepEqual(errors, ["shop/orders: full"]);
    // Nothing newer is there of the collection that failed, nor of one that is gone.
    assert.deepEqual(setsOf(fixture), [
      ["set 2", 3],
      ["set 1", 1],
    ]);
    fixture.collections.pop();
    backups.failures.clear();
    clock.passMs(dayMs);
    await fixture.run("whole");
    assert.deepEqual(setsOf(fixture), [
      ["set 3", 3],
      ["set 2", 1],
    ]);
    const [registry = ""] = fixture.ids;
    backups.condemn(registry);
    clock.passMs(dayMs);
    await fixture.run("whole", true);
    assert.deepEqual(setsOf(fixture)[0], ["set 3", 3]);
  });

  it("are no new sets for the sake of those that a clock that was ahead has made", async () => {
    await using fixture = await PoliciesFixture.open("2027-11-27T10:00:00Z");
    await fixture.put({ ...whole, retention: { keepLast: 1 } });
    await fixture.run("whole");
    fixture.clock.set("2026-11-27T10:00:00Z");
    for (let round = 0; round < 2; round += 1) {
      await fixture.run("whole");
      fixture.clock.passMs(dayMs);
    }
    assert.deepEqual(setsOf(fixture), [
      ["set 1", 4],
      ["set 3", 4],
    ]);
  });

  it("keep what incremental ones are based on, and count sets of callers if they are told so", async () => {
    await using fixture = await PoliciesFixture.open();
    const { backups, clock } = fixture;
    await fixture.put({ ...whole, incremental: true, retention: { keepLast: 1 } });
    await fixture.run("whole");
    clock.passMs(dayMs);
    await fixture.run("whole");
    assert.deepEqual(setsOf(fixture), [
      ["set 2", 4],
      ["set 1", 3],
    ]);
    const manual = await backups.put({ collection, setId: "manual" });
    await backups.putRegistry({ setId: "manual" });
    clock.passMs(dayMs);
    await fixture.put({ ...whole, retention: { keepLast: 1 } });
    await fixture.run("whole");
    assert.ok(fixture.ids.includes(manual.backupId));
    await fixture.put({ ...whole, retention: { keepLast: 1 }, includeManual: true });
    await fixture.run("whole");
    assert.deepEqual(setsOf(fixture), [["set 4", 4]]);
  });
});

describe("the retention in the metadata of a backup", () => {
  it("removes it when it is over, whoever made it, but not the newest valid one", async () => {
    await using fixture = await PoliciesFixture.open();
    const { backups, clock } = fixture;
    const notes = (retention: string) => ({ collection, metadata: { retention } });
    const short = await backups.put(notes("12h"));
    const long = await backups.put(notes("4w"));
    const odd = await backups.put(notes("soon"));
    const last = await backups.put(notes("1h"));
    await fixture.look();
    assert.equal(fixture.ids.length, 4);
    clock.passMs(dayMs / 2 - 1);
    await fixture.look();
    assert.equal(fixture.ids.length, 4);
    clock.passMs(1);
    await fixture.look();
    assert.deepEqual(
      fixture.ids,
      [last, odd, long].map(({ backupId }) => backupId),
    );
    const newer = await backups.put({ collection });
    await fixture.look();
    assert.deepEqual(
      fixture.ids,
      [newer, odd, long].map(({ backupId }) => backupId),
    );
    assert.equal(fixture.ids.includes(short.backupId), false);
    clock.passMs(28 * dayMs);
    await fixture.look();
    assert.deepEqual(
      fixture.ids,
      [newer, odd].map(({ backupId }) => backupId),
    );
  });

  it("counts from the import of an archive", async () => {
    await using fixture = await PoliciesFixture.open();
    const { backups, clock } = fixture;
    const more = { collection, metadata: { retention: "1d" } };
    const createTime = timestampFromDate(new Date("2020-01-01T00:00:00Z"));
    const importTime = timestampFromDate(new Date("2026-11-27T10:00:00Z"));
    await backups.put({ ...more, createTime, importTime });
    const newest = await backups.put({ collection });
    clock.passMs(dayMs - 1);
    await fixture.look();
    assert.equal(fixture.ids.length, 2);
    clock.passMs(1);
    await fixture.look();
    assert.deepEqual(fixture.ids, [newest.backupId]);
  });

  it("spares the newest valid one, whatever claims to be of a moment that has yet to come", async () => {
    await using fixture = await PoliciesFixture.open();
    const { backups, clock } = fixture;
    const notes = { collection, metadata: { retention: "1d" } };
    const older = await backups.put(notes);
    clock.passMs(1);
    const newest = await backups.put(notes);
    const createTime = timestampFromDate(new Date("9999-01-01T00:00:00Z"));
    const importTime = newest.createTime;
    const ahead = await backups.put({ ...notes, createTime, importTime });
    clock.passMs(dayMs);
    await fixture.look();
    assert.deepEqual(fixture.ids, [ahead.backupId, newest.backupId]);
    assert.ok(!fixture.ids.includes(older.backupId));
    await backups.damage(newest.backupId);
    const another = await backups.put({ collection });
    await fixture.look();
    assert.deepEqual(fixture.ids, [another.backupId, ahead.backupId]);
  });

  it("spares the base of what stays", async () => {
    await using fixture = await PoliciesFixture.open();
    const { backups, clock } = fixture;
    const base = await backups.put({ collection, metadata: { retention: "1d" } });
    const { backupId: baseBackupId } = base;
    const next = await backups.put({ collection, baseBackupId, metadata: { retention: "2d" } });
    clock.passMs(dayMs);
    const newest = await backups.put({ collection });
    await fixture.look();
    assert.equal(fixture.ids.length, 3);
    clock.passMs(dayMs);
    await fixture.look();
    assert.deepEqual(fixture.ids, [newest.backupId]);
    assert.ok(!fixture.ids.includes(next.backupId));
  });
});
