import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as fc from "fast-check";
import { BackupChains, type KeepRules, type RetainedBackup, unwantedBy } from "./retention.ts";
import { readRetention } from "./retention-period.ts";

interface Sample extends RetainedBackup {
  readonly isCounted: boolean;
}

const none: KeepRules = { last: 0, withinUs: undefined, daily: 0, weekly: 0, monthly: 0 };
const isCounted = ({ isCounted }: Sample): boolean => isCounted;

function usOf(text: string): bigint {
  return BigInt(Date.parse(text)) * 1000n;
}

function sample(id: string, time: string, more: Partial<Sample> = {}): Sample {
  return {
    id,
    of: "products",
    momentUs: usOf(time),
    baseId: "",
    isSound: true,
    isHeld: false,
    isCounted: true,
    ...more,
  };
}

function removed(
  backups: readonly Sample[],
  rules: Partial<KeepRules>,
  nowUs = usOf("2026-11-27T12:00:00Z"),
): string[] {
  const chains = new BackupChains(backups, nowUs);
  const unwanted = unwantedBy({ ...none, ...rules }, chains, isCounted);
  return chains.removable(unwanted, isCounted).map(({ id }) => id);
}

/** The same by the letter of the rules, slowly. */
function naivelyKept(backups: readonly Sample[], rules: KeepRules, nowUs: bigint): Set<string> {
  const find = (id: string): Sample | undefined => backups.find((backup) => backup.id === id);
  const isValid = (backup: Sample | undefined): boolean =>
    backup !== undefined &&
    backup.isSound &&
    (backup.baseId === "" || isValid(find(backup.baseId)));
  const isNewer = (one: Sample, other: Sample): boolean =>
    one.momentUs > other.momentUs || (one.momentUs === other.momentUs && one.id > other.id);
  const date = ({ momentUs }: Sample): Date => new Date(Number(momentUs / 1000n));
  const monday = (backup: Sample): string => {
    const day = date(backup);
    while (day.getUTCDay() !== 1) day.setUTCDate(day.getUTCDate() - 1);
    return day.toISOString().slice(0, 10);
  };
  const periods: readonly (readonly [number, (backup: Sample) => string])[] = [
    [rules.last, ({ id }) => id],
    [rules.daily, (backup) => date(backup).toISOString().slice(0, 10)],
    [rules.weekly, monday],
    [rules.monthly, (backup) => date(backup).toISOString().slice(0, 7)],
  ];
  const isAny = periods.some(([count]) => count > 0) || rules.withinUs !== undefined;
  const isAhead = ({ momentUs }: Sample): boolean => momentUs > nowUs;
  const isKept = (backup: Sample): boolean => {
    if (!backup.isCounted || backup.isHeld || !isAny || isAhead(backup)) return true;
    if (rules.withinUs !== undefined && nowUs - backup.momentUs < rules.withinUs) return true;
    const others = backups.filter(
      (other) => other.of === backup.of && isValid(other) && !isAhead(other),
    );
    if (others.length === 0) return true;
    if (!isValid(backup)) return false;
    const counted = others.filter((other) => other.isCounted);
    const isNewest = (among: readonly Sample[]): boolean =>
      !among.some((other) => isNewer(other, backup));
    if (isNewest(others) || isNewest(counted)) return true;
    return periods.some(([count, periodOf]) => {
      const newer = counted.filter((other) => isNewer(other, backup)).map(periodOf);
      return !newer.includes(periodOf(backup)) && new Set(newer).size < count;
    });
  };
  const kept = new Set(backups.filter(isKept).map(({ id }) => id));
  for (let isGrowing = true; isGrowing; ) {
    isGrowing = false;
    for (const { id, baseId } of backups) {
      if (!kept.has(id) || find(baseId) === undefined || kept.has(baseId)) continue;
      kept.add(baseId);
      isGrowing = true;
    }
  }
  return kept;
}

const someRules = fc.record({
  last: fc.nat(4),
  withinUs: fc.option(fc.bigInt(0n, 100n * 86_400_000_000n), { nil: undefined }),
  daily: fc.nat(4),
  weekly: fc.nat(3),
  monthly: fc.nat(3),
});

const someBackups: fc.Arbitrary<Sample[]> = fc
  .array(
    fc.record({
      of: fc.constantFrom("a", "b"),
      // Those of the last days are later than now.
      hour: fc.nat(24 * 110),
      base: fc.option(fc.nat(6), { nil: undefined, freq: 2 }),
      isSound: fc.boolean(),
      isHeld: fc.nat(9).map((number) => number === 0),
      isCounted: fc.nat(3).map((number) => number > 0),
    }),
    { maxLength: 24 },
  )
  .map((made) =>
    made.map(({ of, hour, base, ...rest }, index) => ({
      ...rest,
      of,
      id: `backup-${String(index).padStart(2, "0")}`,
      momentUs: usOf("2026-08-19T12:00:00Z") + BigInt(hour) * 3_600_000_000n,
      baseId:
        base === undefined || base >= index
          ? ""
          : `backup-${String(index - base - 1).padStart(2, "0")}`,
    })),
  );

describe("what a policy removes", () => {
  const nowUs = usOf("2026-11-27T12:00:00Z");

  it("is what those who apply each rule by its letter remove", () => {
    fc.assert(
      fc.property(someBackups, someRules, (backups, rules) => {
        const gone = removed(backups, rules, nowUs);
        const kept = backups.map(({ id }) => id).filter((id) => !gone.includes(id));
        assert.deepEqual(new Set(kept), naivelyKept(backups, rules, nowUs));
      }),
      { numRuns: 1000 },
    );
  });

  it("never is the newest valid backup, nor the base of what stays, and goes in an order that works", () => {
    fc.assert(
      fc.property(someBackups, someRules, (backups, rules) => {
        const gone = removed(backups, rules, nowUs);
        // By the moments that have come, and by all of them.
        for (const readUs of [nowUs, nowUs * 2n]) {
          const chains = new BackupChains(backups, readUs);
          for (const { id } of chains.newestValid()) assert.ok(!gone.includes(id));
        }
        for (const { id, baseId } of backups) {
          const baseAt = gone.indexOf(baseId);
          if (baseAt < 0) continue;
          assert.ok(gone.includes(id) && gone.indexOf(id) < baseAt, `${id} before ${baseId}`);
        }
      }),
      { numRuns: 1000 },
    );
  });

  it("grows no larger when a rule keeps more, and no smaller with time", () => {
    const more = fc.record({
      last: fc.nat(3),
      daily: fc.nat(3),
      weekly: fc.nat(2),
      monthly: fc.nat(2),
    });
    fc.assert(
      fc.property(
        someBackups,
        someRules,
        more,
        fc.bigInt(0n, 10n ** 13n),
        (backups, rules, add, laterUs) => {
          const isAny = rules.last + rules.daily + rules.weekly + rules.monthly > 0;
          fc.pre(isAny || rules.withinUs !== undefined);
          const few = new Set(removed(backups, rules, nowUs));
          const generous = {
            last: rules.last + add.last,
            daily: rules.daily + add.daily,
            weekly: rules.weekly + add.weekly,
            monthly: rules.monthly + add.monthly,
            withinUs: rules.withinUs === undefined ? undefined : rules.withinUs + laterUs,
          };
          for (const id of removed(backups, generous, nowUs)) assert.ok(few.has(id));
          const later = new Set(removed(backups, rules, nowUs + laterUs));
          for (const id of few) assert.ok(later.has(id));
        },
      ),
      { numRuns: 1000 },
    );
  });

  it("is nothing twice: what is left is kept", () => {
    fc.assert(
      fc.property(someBackups, someRules, (backups, rules) => {
        const gone = removed(backups, rules, nowUs);
        const left = backups.filter(({ id }) => !gone.includes(id));
        assert.deepEqual(removed(left, rules, nowUs), []);
      }),
    );
  });

  it("is nothing if no rule says how many", () => {
    assert.deepEqual(removed([sample("1", "1999-01-01"), sample("2", "2026-01-01")], {}), []);
  });

  it("counts days, weeks from Monday and months in UTC", () => {
    const days = [
      sample("1", "2026-11-23T23:59:59Z"),
      sample("2", "2026-11-24T00:00:00Z"),
      sample("3", "2026-11-24T23:59:59Z"),
      sample("4", "2026-11-27T00:00:00Z"),
    ];
    assert.deepEqual(removed(days, { daily: 2 }), ["2", "1"]);
    const weeks = [
      sample("1", "2026-11-15T23:59:59Z"),
      sample("2", "2026-11-16T00:00:00Z"),
      sample("3", "2026-11-22T23:59:59Z"),
      sample("4", "2026-11-23T00:00:00Z"),
    ];
    assert.deepEqual(removed(weeks, { weekly: 2 }), ["2", "1"]);
    const months = [
      sample("1", "2025-12-31T23:59:59Z"),
      sample("2", "2026-01-01T00:00:00Z"),
      sample("3", "2026-01-31T23:59:59Z"),
    ];
    assert.deepEqual(removed(months, { monthly: 2 }), ["2"]);
  });

  it("keeps a base in use, and the newest valid one where the newest is damaged", () => {
    const chain = [
      sample("1", "2026-11-01"),
      sample("2", "2026-11-02", { baseId: "1" }),
      sample("3", "2026-11-03", { baseId: "2" }),
      sample("4", "2026-11-04", { isSound: false }),
    ];
    assert.deepEqual(removed(chain, { last: 1 }), ["4"]);
    const damagedBase = [
      sample("1", "2026-11-01"),
      sample("2", "2026-11-02", { isSound: false }),
      sample("3", "2026-11-03", { baseId: "2" }),
    ];
    assert.deepEqual(removed(damagedBase, { last: 1 }), ["3", "2"]);
    assert.deepEqual(removed(damagedBase.slice(1), { last: 1 }), []);
  });
});

describe("a backup whose moment has yet to come", () => {
  const ahead = (id: string, more: Partial<Sample> = {}): Sample =>
    sample(id, "2027-01-01T00:00:00Z", more);
  const hours = ["10", "11", "12"].map((hour) => sample(hour, `2026-11-27T${hour}:00:00Z`));

  it("takes no place, and is kept", () => {
    const backups = [...hours, ahead("13"), ahead("14"), ahead("15", { isSound: false })];
    assert.deepEqual(removed(backups, { last: 2 }), ["10"]);
    for (const rule of ["daily", "weekly", "monthly"]) {
      assert.deepEqual(removed(backups, { [rule]: 1 }), ["11", "10"], rule);
    }
    assert.deepEqual(removed(backups, { withinUs: 1n }), ["11", "10"]);
  });

  it("takes its place when the moment comes", () => {
    const backups = [...hours, ahead("13")];
    const momentUs = usOf("2027-01-01T00:00:00Z");
    assert.deepEqual(removed(backups, { last: 2 }, momentUs - 1n), ["10"]);
    assert.deepEqual(removed(backups, { last: 2 }, momentUs), ["11", "10"]);
  });

  it("is no reason to remove what is damaged, where there is no other", () => {
    const damaged = sample("1", "2026-11-01", { isSound: false });
    assert.deepEqual(removed([damaged, ahead("2")], { last: 1 }), []);
    assert.deepEqual(removed([damaged, ahead("2"), ...hours], { last: 3 }), ["1"]);
  });
});

describe("readRetention", () => {
  it("reads a number and a unit, and takes nothing else for a time", () => {
    assert.equal(readRetention("30d"), 30n * 86_400_000_000n);
    assert.equal(readRetention("12h"), 12n * 3_600_000_000n);
    assert.equal(readRetention("4w"), 28n * 86_400_000_000n);
    assert.equal(readRetention("90s"), 90_000_000n);
    assert.equal(readRetention("5m"), 300_000_000n);
    for (const text of [
      "",
      "0d",
      "-1d",
      "30",
      "d",
      "30 d",
      "30D",
      "1e3d",
      "1.5d",
      "forever",
      "1234567d",
    ]) {
      assert.equal(readRetention(text), undefined, text);
    }
  });
});
