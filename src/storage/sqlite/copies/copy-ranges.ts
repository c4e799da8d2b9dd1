import type { DatabaseSync } from "node:sqlite";
import { timestampUsMax, timestampUsMin } from "../../../lib/timestamps.ts";
import { revisionMax } from "../../store-copies.ts";
import type { StoreMeta } from "../schema.ts";

/** Microseconds of the longest time to live, 10,000 years: the last that a record can expire in. */
const timeToLiveUsMax = 315_576_000_000_000_000n;

/** What is wrong with the numbers of a row of `record`, as SQL; NULL if nothing is. `:revision` is the store's. */
export const recordFault: string = faultOf([
  within("version", "its version", 1n, ":revision"),
  within("seq", "the revision that created it", 1n, "version"),
  within("created_us", "its creation", timestampUsMin, timestampUsMax),
  within("updated_us", "its last write", timestampUsMin, timestampUsMax),
  within("expires_us", "its expiry", timestampUsMin, timestampUsMax + timeToLiveUsMax),
]);

const tombstoneFault = faultOf([
  within("revision", "its revision", 1n, ":revision"),
  within("at_us", "its time", timestampUsMin, timestampUsMax),
]);

const fileFault = faultOf([
  within("created_us", "its creation", timestampUsMin, timestampUsMax),
  within("updated_us", "its last write", timestampUsMin, timestampUsMax),
]);

/**
 * Looks for numbers that no store has written and that later writes or answers would fail on, outside of
 * records; those of a record are looked at by {@link recordFault}.
 *
 * @param problemsMax of each table
 */
export function rangeProblems(
  db: DatabaseSync,
  { revision, shape, horizon }: Pick<StoreMeta, "revision" | "shape" | "horizon">,
  problemsMax: number,
): readonly string[] {
  const problems: string[] = [];
  const check = (what: string, found: bigint, from: bigint, to: bigint): void => {
    if (found < from || found > to) {
      problems.push(`database: its ${what} is ${found}, not from ${from} to ${to}`);
    }
  };
  check("revision", revision, 0n, revisionMax);
  check("shape", shape, 1n, revisionMax);
  check("horizon", horizon, 0n, revision);
  const tombstones = db.prepare(`
    SELECT substr(id, 1, 256) AS id, ${tombstoneFault} AS fault FROM tombstone
    WHERE fault IS NOT NULL LIMIT ${problemsMax}
  `);
  for (const { id, fault } of tombstones.iterate({ revision })) {
    problems.push(`deleted record ${String(id)}: ${String(fault)}`);
  }
  const files = db.prepare(`
    SELECT substr(name, 1, 256) AS name, ${fileFault} AS fault FROM file
    WHERE fault IS NOT NULL LIMIT ${problemsMax}
  `);
  for (const { name, fault } of files.iterate()) {
    problems.push(`file ${String(name)}: ${String(fault)}`);
  }
  // SQLite counts on from these.
  const numbers = db.prepare(`
    SELECT 1 FROM (
      SELECT seq AS number FROM sqlite_sequence
      UNION ALL SELECT number FROM field_index
      UNION ALL SELECT number FROM search_index
    )
    WHERE typeof(number) <> 'integer' OR number NOT BETWEEN 0 AND ${revisionMax} LIMIT 1
  `);
  if (numbers.get() !== undefined) problems.push("database: the number of an index is none");
  return problems;
}

/** NULL is within. */
function within(column: string, what: string, from: bigint, to: bigint | string): string {
  const outside = `${column} NOT BETWEEN ${from} AND ${to}`;
  return `WHEN ${outside} THEN '${what} is ' || ${column} || ', not from ${from} to ' || ${to}`;
}

function faultOf(cases: readonly string[]): string {
  return `CASE ${cases.join(" ")} END`;
}
