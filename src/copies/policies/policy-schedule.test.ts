import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import * as fc from "fast-check";
import { hourly, nightly, PoliciesFixture } from "../testing/policies-fixture.ts";

describe("a policy that has a schedule", () => {
  it("makes up for missed runs with one, and counts an interval from the start of the last", async () => {
    await using fixture = await PoliciesFixture.open("2026-11-27T10:00:00Z");
    await fixture.put(nightly);
    await fixture.put(hourly);
    await fixture.look();
    assert.equal(fixture.ids.length, 1, "the first run by an interval is at once");
    assert.equal(fixture.next("hourly"), "2026-11-27T11:00:00.000Z");
    fixture.clock.set("2026-12-02T10:20:00Z");
    await fixture.start();
    await fixture.look();
    assert.equal(fixture.ids.length, 1 + 2 + 1);
    assert.equal(fixture.next("nightly"), "2026-12-03T03:00:00.000Z");
    assert.equal(fixture.next("hourly"), "2026-12-02T11:20:00.000Z");
  });

  it("is not put off by being put again", async () => {
    await using fixture = await PoliciesFixture.open();
    await fixture.put(nightly);
    await fixture.put(hourly);
    await fixture.look();
    fixture.clock.set("2026-11-28T03:00:00Z");
    await fixture.put({ ...nightly, excludeFiles: true });
    await fixture.put({ ...hourly, excludeFiles: true });
    assert.equal(fixture.next("nightly"), "2026-11-28T03:00:00.000Z");
    assert.equal(fixture.policies.get("hourly").runs.length, 1);
    await fixture.look();
    assert.deepEqual(
      [fixture.ids.length, fixture.backups.requests.at(-1)?.includeFiles],
      [4, false],
    );
    await fixture.put({ ...nightly, schedule: { case: "cron", value: "30 3 * * *" } });
    assert.equal(fixture.next("nightly"), "2026-11-28T03:30:00.000Z");
    await fixture.put({ ...nightly, timeZone: "Asia/Kolkata" });
    assert.equal(fixture.next("nightly"), "2026-11-28T21:30:00.000Z");
    await fixture.put({ ...nightly, suspended: true });
    assert.equal(fixture.next("nightly"), undefined);
    fixture.clock.set("2026-12-28T03:00:00Z");
    await fixture.policies.delete("hourly", false);
    await fixture.look();
    assert.equal(fixture.ids.length, 4);
    assert.equal((await fixture.run("nightly")).madeCount, 2);
  });

  it("follows a clock that is put forward or back", async () => {
    await using fixture = await PoliciesFixture.open("2031-01-01T00:00:00Z");
    await fixture.put(hourly);
    await fixture.put(nightly);
    await fixture.look();
    assert.equal(fixture.next("hourly"), "2031-01-01T01:00:00.000Z");
    fixture.clock.set("2026-11-27T10:00:00Z");
    await fixture.look();
    assert.equal(fixture.next("hourly"), "2026-11-27T11:00:00.000Z");
    assert.equal(fixture.next("nightly"), "2026-11-28T03:00:00.000Z");
    fixture.clock.set("2026-11-27T11:00:00Z");
    await fixture.look();
    assert.equal(fixture.policies.get("hourly").runs.length, 2);
    fixture.clock.set("2026-11-20T00:00:00Z");
    await fixture.start();
    await fixture.look();
    assert.equal(fixture.next("hourly"), "2026-11-20T01:00:00.000Z");
  });

  it("is not put off by a clock that is put back while it runs", async () => {
    for (const isCut of [false, true]) {
      await using fixture = await PoliciesFixture.open("2027-11-27T03:00:00Z");
      await fixture.put(hourly);
      const { promise, resolve } = Promise.withResolvers<void>();
      fixture.backups.gate = promise;
      await fixture.policies.look();
      while (fixture.policies.get("hourly").runs.length === 0) await sleep(1);
      fixture.clock.set("2026-11-27T03:00:00Z");
      await fixture.policies.look();
      if (isCut) {
        await fixture.policies[Symbol.asyncDispose]();
        await fixture.start();
      }
      resolve();
      await fixture.look();
      assert.equal(fixture.next("hourly"), "2026-11-27T04:00:00.000Z");
    }
  });

  it("is not put off by being put again, or told to run, since the clock was put back", async () => {
    await using fixture = await PoliciesFixture.open("2027-11-27T03:00:00Z");
    await fixture.put(hourly);
    await fixture.put(nightly);
    await fixture.look();
    fixture.clock.set("2026-11-27T03:00:00Z");
    for (const note of ["before a look", "after it"]) {
      await fixture.put({ ...hourly, metadata: { note } });
      await fixture.put({ ...nightly, metadata: { note } });
      assert.equal(fixture.next("hourly"), "2026-11-27T04:00:00.000Z", note);
      assert.equal(fixture.next("nightly"), "2026-11-28T03:00:00.000Z", note);
      await fixture.look();
      fixture.clock.set("2026-11-27T03:30:00Z");
    }
    fixture.clock.set("2027-11-27T03:00:00Z");
    await fixture.run("hourly");
    await fixture.put({ ...nightly, schedule: { case: "cron", value: "30 3 * * *" } });
    // Later than at the last look, which saw nothing of what the clock showed between the two.
    fixture.clock.set("2026-11-27T03:40:00Z");
    await fixture.look();
    assert.equal(fixture.next("hourly"), "2026-11-27T04:40:00.000Z");
    assert.equal(fixture.next("nightly"), "2026-11-28T03:30:00.000Z");
  });

  it("is due once however the clock goes, and never further away than its schedule says", async () => {
    await using fixture = await PoliciesFixture.open();
    await fixture.put(hourly);
    await fixture.put({ ...nightly, name: "daily" });
    const limits = [
      ["hourly", 3_600_000],
      ["daily", 86_400_000],
    ] as const;
    const ms = (name: string): number => Date.parse(fixture.next(name) ?? "");
    const nowMs = (): number => Number(fixture.clock.nowUs() / 1000n);
    const step = fc.record({
      passMs: fc.oneof(fc.integer({ min: 0, max: 9e6 }), fc.integer({ min: -4e8, max: 4e8 })),
      isRestart: fc.integer({ min: 0, max: 5 }).map((number) => number === 0),
      isPut: fc.integer({ min: 0, max: 3 }).map((number) => number === 0),
    });
    const steps = fc.array(step, { minLength: 10, maxLength: 40 });
    await fc.assert(
      fc.asyncProperty(steps, async (taken) => {
        for (const { passMs, isRestart, isPut } of taken) {
          fixture.clock.passMs(passMs);
          if (isRestart) await fixture.start();
          if (isPut) await fixture.put(hourly);
          const before = limits.map(([name]) => ms(name) <= nowMs());
          const startOf = (name: string) => fixture.policies.get(name).runs[0]?.startTime;
          const starts = limits.map(([name]) => startOf(name));
          await fixture.look();
          for (const [index, [name, longestMs]] of limits.entries()) {
            assert.equal(startOf(name) !== starts[index], before[index], name);
            assert.ok(ms(name) > nowMs() && ms(name) <= nowMs() + longestMs, fixture.next(name));
          }
        }
      }),
      { numRuns: 10 },
    );
  });
});
