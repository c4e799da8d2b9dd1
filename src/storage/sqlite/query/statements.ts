import type { DatabaseSync, StatementSync } from "node:sqlite";

/** Statements that a connection keeps prepared. */
const statementsMax = 128;

const statementsOf = new WeakMap<DatabaseSync, Map<string, StatementSync>>();
const listStatementsOf = new WeakMap<DatabaseSync, Map<string, StatementSync>>();

/** A statement whose rows are objects; it is kept for the next time. */
export function prepared(db: DatabaseSync, text: string): StatementSync {
  return find(statementsOf, db, text, (statement) => statement);
}

/** A statement whose rows are arrays of its columns: for where rows are many. */
export function preparedList(db: DatabaseSync, text: string): StatementSync {
  return find(listStatementsOf, db, text, (statement) => {
    statement.setReturnArrays(true);
    return statement;
  });
}

/**
 * Gives up all statements of a connection. One that failed while its rows were read answers its next
 * use with the same failure.
 */
export function forgetStatements(db: DatabaseSync): void {
  statementsOf.delete(db);
  listStatementsOf.delete(db);
}

function find(
  caches: WeakMap<DatabaseSync, Map<string, StatementSync>>,
  db: DatabaseSync,
  text: string,
  configure: (statement: StatementSync) => StatementSync,
): StatementSync {
  let cache = caches.get(db);
  if (cache === undefined) {
    cache = new Map();
    caches.set(db, cache);
  }
  const known = cache.get(text);
  if (known !== undefined) {
    // The first is the one that was not used for longest.
    cache.delete(text);
    cache.set(text, known);
    return known;
  }
  const [oldest] = cache.keys();
  if (oldest !== undefined && cache.size >= statementsMax) cache.delete(oldest);
  const statement = configure(db.prepare(text));
  cache.set(text, statement);
  return statement;
}
