import { randomBytes } from "node:crypto";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { encodeNote, noteOf } from "../../test/support/notes.ts";

/**
 * The least that durable creates can cost on this machine: SQLite alone writes the rows that a
 * collection of notes has (record, full text, one index), so many to a commit, each commit on disk.
 *
 * Arguments: folder, rows to a commit, seconds. Prints rows per second.
 */
const folder = process.argv[2] ?? ".";
const groupSize = Number(process.argv[3] ?? 1);
const seconds = Number(process.argv[4] ?? 1);

/** How many different rows are written before their content repeats; as the load generator's. */
const distinct = 20_000;
const warmUpShare = 0.2;

interface Row {
  readonly texts: readonly string[];
  readonly price: bigint;
  readonly document: string;
  readonly data: Uint8Array;
}

const path = join(folder, "bare.sqlite");
const db = new DatabaseSync(path, { readBigInts: true });
db.exec(`
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = FULL;
  CREATE TABLE record (
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, version INTEGER NOT NULL,
    created_us INTEGER NOT NULL, updated_us INTEGER NOT NULL, labels TEXT NOT NULL,
    document BLOB NOT NULL, data BLOB NOT NULL
  ) STRICT;
  CREATE VIRTUAL TABLE record_text USING fts5(
    title, body, author_name, tags, content = '', contentless_delete = 1, prefix = '3'
  );
  CREATE TABLE price (value NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (value, seq)) WITHOUT ROWID;
`);
const insertRecord = db.prepare(`
  INSERT INTO record (seq, id, version, created_us, updated_us, labels, document, data)
  VALUES (?, ?, ?, ?, ?, '{}', jsonb(?), ?)
`);
const insertText = db.prepare(
  "INSERT INTO record_text (rowid, title, body, author_name, tags) VALUES (?, ?, ?, ?, ?)",
);
const insertPrice = db.prepare("INSERT INTO price (value, seq) VALUES (?, ?)");

const rows = Array.from({ length: distinct }, (_, number) => rowOf(number));
let seq = 0n;
insertFor(seconds * 1000 * warmUpShare);
console.log(insertFor(seconds * 1000));
db.close();
for (const suffix of ["", "-wal", "-shm"]) rmSync(`${path}${suffix}`, { force: true });

/** @returns rows per second */
function insertFor(ms: number): number {
  const begin = performance.now();
  const first = seq;
  while (performance.now() - begin < ms) {
    db.exec("BEGIN");
    for (let index = 0; index < groupSize; index += 1) insert();
    db.exec("COMMIT");
  }
  return Number(seq - first) / ((performance.now() - begin) / 1000);
}

function insert(): void {
  seq += 1n;
  const row = rows[Number(seq % BigInt(distinct))];
  if (row === undefined) throw new RangeError("no row");
  const now = BigInt(Date.now()) * 1000n;
  insertRecord.run(seq, uuidV7(now / 1000n), seq, now, now, row.document, row.data);
  insertText.run(seq, ...row.texts);
  insertPrice.run(row.price, seq);
}

/** Ids that grow with time, as the server makes them: they fill the index page by page. */
function uuidV7(nowMs: bigint): string {
  const hex = nowMs.toString(16).padStart(12, "0") + randomBytes(10).toString("hex");
  return [0, 8, 12, 16, 20].map((at, part, all) => hex.slice(at, all[part + 1] ?? 32)).join("-");
}

function rowOf(number: number): Row {
  const note = noteOf(number);
  const { title, body, author, priceCents, tags } = note;
  const thumbnail = Buffer.from(note.thumbnail).toString("base64");
  const document = JSON.stringify({ ...note, thumbnail }, (_, value: unknown) =>
    typeof value === "bigint" ? Number(value) : value,
  );
  const data = encodeNote(note);
  return { texts: [title, body, author.name, tags.join(" ")], price: priceCents, document, data };
}
