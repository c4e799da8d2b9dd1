import type { DatabaseSync, SQLInputValue } from "node:sqlite";
import { integerOf } from "../connection.ts";
import type { SqlFragment } from "./sql.ts";
import { prepared } from "./statements.ts";

/** Counts that a connection remembers. */
const countsMax = 256;

interface Counts {
  version: bigint;
  /** In order of use: the first was not used for longest. */
  readonly known: Map<string, number>;
}

const countsOf = new WeakMap<DatabaseSync, Counts>();

/** Forgets what was counted before the store last changed. To be called once the transaction reads. */
export function renewCounts(db: DatabaseSync): void {
  const version = integerOf(prepared(db, "PRAGMA data_version").get(), "data_version");
  const counts = countsOf.get(db);
  if (counts === undefined) {
    countsOf.set(db, { version, known: new Map() });
  } else if (counts.version !== version) {
    counts.version = version;
    counts.known.clear();
  }
}

/**
 * What `count` says of a statement, or what it said before, if nothing was written since: lists count the
 * same again for each page.
 *
 * @param count `lasting` if what it says holds as long as nothing is written.
 */
export function remembered(
  db: DatabaseSync,
  statement: SqlFragment,
  count: () => { readonly count: number; readonly lasting: boolean },
): number {
  const known = countsOf.get(db)?.known;
  const key = keyOf(statement);
  const before = known?.get(key);
  if (known !== undefined && before !== undefined) {
    known.delete(key);
    known.set(key, before);
    return before;
  }
  const { count: value, lasting } = count();
  if (known !== undefined && lasting) {
    const [oldest] = known.keys();
    if (oldest !== undefined && known.size >= countsMax) known.delete(oldest);
    known.set(key, value);
  }
  return value;
}

function keyOf({ sql, params }: SqlFragment): string {
  return [sql, ...params.map(keyOfValue)].join("\0");
}

function keyOfValue(value: SQLInputValue): string {
  if (typeof value === "bigint") return `i${value}`;
  return typeof value === "number" ? `n${value}` : JSON.stringify(value);
}
