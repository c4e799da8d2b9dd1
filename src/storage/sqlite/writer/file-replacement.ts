import { CollectorError } from "../../../errors.ts";
import type { StoredFile } from "../../store-files.ts";
import { integerOf } from "../connection.ts";
import type { StoreWriter } from "./store-writer.ts";

/** Belongs to the writer's connection, and goes with it: nothing of it is in the store. */
const stagedTable = `
  CREATE TEMP TABLE staged_file (
    owner TEXT NOT NULL,
    name TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    size INTEGER NOT NULL,
    content_type TEXT NOT NULL,
    created_us INTEGER NOT NULL,
    updated_us INTEGER NOT NULL,
    PRIMARY KEY (owner, name)
  ) STRICT, WITHOUT ROWID
`;

/** Puts files beside those that were staged before; `from` 0 begins anew. */
export function stageFiles(
  { db }: StoreWriter,
  { from, files }: { readonly from: number; readonly files: readonly StoredFile[] },
): void {
  if (from === 0) db.exec(`DROP TABLE IF EXISTS temp.staged_file; ${stagedTable}`);
  if (!hasStaged(db)) throw lost();
  const insert = db.prepare("INSERT INTO temp.staged_file VALUES (?, ?, ?, ?, ?, ?, ?)");
  for (const file of files) {
    const { owner, name, sha256, sizeBytes, contentType, createdUs, updatedUs } = file;
    insert.run(owner, name, sha256, sizeBytes, contentType, createdUs, updatedUs);
  }
}

/**
 * Makes the staged files all files of the store, durably, in one transaction. What stays as it is is not
 * written.
 *
 * @throws {CollectorError} CONTENT_MISMATCH if an owner is no record; STORAGE_UNAVAILABLE if files that were
 * staged are lost
 */
export function replaceFiles(store: StoreWriter, count: number): void {
  const { db } = store;
  if (!hasStaged(db)) throw lost();
  try {
    store.transactDurably(() => {
      const staged = db.prepare("SELECT count(*) AS count FROM temp.staged_file").get();
      if (integerOf(staged, "count") !== BigInt(count)) throw lost();
      checkOwners(store);
      const before = db.prepare("SELECT file_count AS count, file_bytes AS bytes FROM meta").get();
      db.exec(`
        DELETE FROM main.file WHERE NOT EXISTS (
          SELECT 1 FROM temp.staged_file s WHERE s.owner = file.owner AND s.name = file.name
        )
      `);
      db.exec(`
        INSERT INTO main.file (owner, name, sha256, size, content_type, created_us, updated_us)
        SELECT owner, name, sha256, size, content_type, created_us, updated_us
        FROM temp.staged_file WHERE 1
        ON CONFLICT (owner, name) DO UPDATE SET
          sha256 = excluded.sha256, size = excluded.size, content_type = excluded.content_type,
          created_us = excluded.created_us, updated_us = excluded.updated_us
        WHERE (sha256, size, content_type, created_us, updated_us)
          <> (excluded.sha256, excluded.size, excluded.content_type,
            excluded.created_us, excluded.updated_us)
      `);
      const after = db
        .prepare("SELECT count(*) AS count, coalesce(sum(size), 0) AS bytes FROM main.file")
        .get();
      store.countFiles(
        integerOf(after, "count") - integerOf(before, "count"),
        integerOf(after, "bytes") - integerOf(before, "bytes"),
      );
    });
  } finally {
    db.exec("DROP TABLE IF EXISTS temp.staged_file");
  }
}

/** A record whose time has come owns its files until it is removed. */
function checkOwners({ db }: StoreWriter): void {
  const row = db
    .prepare(`
      SELECT 1 FROM temp.staged_file
      WHERE owner <> '' AND NOT EXISTS (SELECT 1 FROM main.record WHERE id = owner)
      LIMIT 1
    `)
    .get();
  if (row === undefined) return;
  throw new CollectorError("CONTENT_MISMATCH", "a file belongs to a record that is not there");
}

function hasStaged(db: StoreWriter["db"]): boolean {
  const found = db.prepare("SELECT 1 FROM temp.sqlite_schema WHERE name = 'staged_file'").get();
  return found !== undefined;
}

function lost(): CollectorError {
  return new CollectorError(
    "STORAGE_UNAVAILABLE",
    "the store was closed while its files were replaced; try again",
  );
}
