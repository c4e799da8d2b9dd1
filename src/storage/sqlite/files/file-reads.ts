import type { StatementSync } from "node:sqlite";
import type { FilePage, FileStats, StoredFile } from "../../store-files.ts";
import { integerOf, textOf } from "../connection.ts";
import type { ReadHandle } from "../point-reads.ts";
import { fileColumns, toStoredFile } from "../writer/file-tasks.ts";

interface FileStatements {
  readonly find: StatementSync;
  readonly listFrom: StatementSync;
  readonly listAfter: StatementSync;
  readonly isNamed: StatementSync;
  readonly garbage: StatementSync;
  readonly stats: StatementSync;
}

const byHandle = new WeakMap<ReadHandle, FileStatements>();

/** A record whose time has come is not there, and so are its files. */
const isOwned = `(owner = '' OR EXISTS (
  SELECT 1 FROM record WHERE id = owner AND (expires_us IS NULL OR expires_us > :nowUs)
))`;

export function findFile(
  handle: ReadHandle,
  owner: string,
  name: string,
  nowUs: bigint,
): StoredFile | undefined {
  const row = statementsOf(handle).find.get({ owner, name, nowUs });
  return row === undefined ? undefined : toStoredFile(row);
}

/** In order of the names' bytes; names with the same prefix lie together. */
export function listFiles(
  handle: ReadHandle,
  query: {
    readonly owner: string;
    readonly prefix: string;
    readonly after: string | undefined;
    readonly limit: number;
  },
  nowUs: bigint,
): FilePage {
  const { owner, prefix, after, limit } = query;
  const { listFrom, listAfter } = statementsOf(handle);
  const statement = after === undefined ? listFrom : listAfter;
  const from = after ?? prefix;
  const rows = statement.all({ owner, from, nowUs, count: BigInt(limit + 1) }).map(toStoredFile);
  const end = rows.findIndex(({ name }) => !name.startsWith(prefix));
  const found = end === -1 ? rows : rows.slice(0, end);
  const files = found.slice(0, limit);
  return { files, next: found.length > limit ? files.at(-1)?.name : undefined };
}

export function isNamed(handle: ReadHandle, sha256: string): boolean {
  return statementsOf(handle).isNamed.get(sha256) !== undefined;
}

/** Content that has lost a name and is to be looked at, at most so much. */
export function garbageIn(handle: ReadHandle, limit: number): readonly string[] {
  const rows = statementsOf(handle).garbage.all(BigInt(limit));
  return rows.map((row) => textOf(row, "sha256"));
}

export function readFileStats(handle: ReadHandle): FileStats {
  const row = statementsOf(handle).stats.get();
  return { count: integerOf(row, "count"), bytes: integerOf(row, "bytes") };
}

function statementsOf(handle: ReadHandle): FileStatements {
  let statements = byHandle.get(handle);
  if (statements === undefined) {
    const { db } = handle;
    const list = (condition: string): StatementSync =>
      db.prepare(`
        SELECT ${fileColumns} FROM file
        WHERE owner = :owner AND name ${condition} :from AND ${isOwned}
        ORDER BY name LIMIT :count
      `);
    statements = {
      find: db.prepare(`
        SELECT ${fileColumns} FROM file WHERE owner = :owner AND name = :name AND ${isOwned}
      `),
      listFrom: list(">="),
      listAfter: list(">"),
      isNamed: db.prepare("SELECT 1 FROM file WHERE sha256 = ? LIMIT 1"),
      garbage: db.prepare("SELECT sha256 FROM file_garbage LIMIT ?"),
      stats: db.prepare("SELECT file_count AS count, file_bytes AS bytes FROM meta"),
    };
    byHandle.set(handle, statements);
  }
  return statements;
}
