import { CollectorError } from "../../../errors.ts";
import type { StoredFile } from "../../store-files.ts";
import { integerOf, type Row, textOf } from "../connection.ts";
import type { WriterTask } from "./messages.ts";
import type { StoreWriter } from "./store-writer.ts";

type PutFile = Extract<WriterTask, { task: "putFile" }>;
type RemoveFile = Extract<WriterTask, { task: "removeFile" }>;

/** What {@link toStoredFile} reads of table `file`. */
export const fileColumns: string =
  "owner, name, sha256, size, content_type AS contentType, created_us AS createdUs, updated_us AS updatedUs";

export function toStoredFile(row: Row): StoredFile {
  return {
    owner: textOf(row, "owner"),
    name: textOf(row, "name"),
    sha256: textOf(row, "sha256"),
    sizeBytes: integerOf(row, "size"),
    contentType: textOf(row, "contentType"),
    createdUs: integerOf(row, "createdUs"),
    updatedUs: integerOf(row, "updatedUs"),
  };
}

/**
 * Gives content a name, in place of what had it.
 *
 * @throws {CollectorError} RECORD_NOT_FOUND, FILE_EXISTS, FILE_MISMATCH
 */
export function putFile(store: StoreWriter, { file, condition, nowUs }: PutFile): StoredFile {
  const { owner, name, sha256, sizeBytes, contentType } = file;
  let createdUs = nowUs;
  store.transact(() => {
    checkOwner(store, owner, nowUs);
    const known = findFile(store, owner, name);
    if (known !== undefined && condition.createOnly === true) {
      throw new CollectorError("FILE_EXISTS", "a file of this name is attached already", {
        subject: { file: name },
      });
    }
    checkMatch(known, condition.ifMatch, name);
    createdUs = known?.createdUs ?? nowUs;
    store.db
      .prepare(`
        INSERT INTO file (owner, name, sha256, size, content_type, created_us, updated_us)
        VALUES (?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT DO UPDATE SET
          sha256 = excluded.sha256, size = excluded.size, content_type = excluded.content_type,
          updated_us = excluded.updated_us
      `)
      .run(owner, name, sha256, sizeBytes, contentType, createdUs, nowUs);
    store.countFiles(known === undefined ? 1n : 0n, sizeBytes - (known?.sizeBytes ?? 0n));
  });
  return { ...file, createdUs, updatedUs: nowUs };
}

/** @returns false if there was none. @throws {CollectorError} FILE_MISMATCH */
export function removeFile(store: StoreWriter, { owner, name, ifMatch }: RemoveFile): boolean {
  let known: StoredFile | undefined;
  store.transact(() => {
    known = findFile(store, owner, name);
    if (known === undefined) return;
    checkMatch(known, ifMatch, name);
    store.db.prepare("DELETE FROM file WHERE owner = ? AND name = ?").run(owner, name);
    store.countFiles(-1n, -known.sizeBytes);
  });
  return known !== undefined;
}

/**
 * Forgets which content has lost a name. What was committed before is on disk afterwards, so the
 * content may go: no power cut brings its name back.
 */
export function clearGarbage(store: StoreWriter, sha256s: readonly string[]): void {
  store.transactDurably(() => {
    const clear = store.db.prepare("DELETE FROM file_garbage WHERE sha256 = ?");
    for (const sha256 of sha256s) clear.run(sha256);
    store.countFiles(0n, 0n);
  });
}

function findFile({ db }: StoreWriter, owner: string, name: string): StoredFile | undefined {
  const row = db
    .prepare(`SELECT ${fileColumns} FROM file WHERE owner = ? AND name = ?`)
    .get(owner, name);
  return row === undefined ? undefined : toStoredFile(row);
}

function checkOwner({ db }: StoreWriter, owner: string, nowUs: bigint): void {
  if (owner === "") return;
  const row = db
    .prepare("SELECT 1 FROM record WHERE id = ? AND (expires_us IS NULL OR expires_us > ?)")
    .get(owner, nowUs);
  if (row !== undefined) return;
  throw new CollectorError("RECORD_NOT_FOUND", "there is no record with this id", {
    subject: { id: owner },
  });
}

function checkMatch(
  known: StoredFile | undefined,
  ifMatch: string | undefined,
  name: string,
): void {
  if (ifMatch === undefined || known?.sha256 === ifMatch) return;
  const state = known === undefined ? "does not exist" : `has SHA-256 ${known.sha256}`;
  throw new CollectorError("FILE_MISMATCH", `the file ${state}, not ${ifMatch}; stat it again`, {
    subject: { file: name },
  });
}
