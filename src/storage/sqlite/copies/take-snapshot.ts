import { DatabaseSync } from "node:sqlite";
import { pathToFileURL } from "node:url";
import { CollectorError } from "../../../errors.ts";
import { ContentList, type ListedContent } from "../../../lib/content-list.ts";
import type { TextIndexDefinition, VectorIndexDefinition } from "../../store-layout.ts";
import { integerOf, textOf } from "../connection.ts";
import { syncPathSync } from "../file-sync.ts";
import { retiredTables } from "../retired-text.ts";
import { countExpired, indexTableName, readMeta, readSchemaVersion } from "../schema.ts";
import { textTableName } from "../search-tables.ts";
import { vectorTableNames } from "../vectors/vector-table.ts";
import type { CopyJob, SnapshotFacts } from "./copy-jobs.ts";
import { schemaProblems } from "./expected-schema.ts";

/** How long to wait for a lock of a writer, in ms. */
const busyMs = 10_000;

/**
 * Copies a store into a new file, as it is at one moment; blocks. The file is not waited for.
 *
 * @throws {CollectorError} INTERNAL for a copy that would be refused when it is installed
 */
export function takeSnapshot(job: CopyJob & { readonly kind: "snapshot" }): SnapshotFacts {
  const source = open(job.source, "ro");
  try {
    source.exec("PRAGMA temp_store = MEMORY; PRAGMA synchronous = OFF");
    source.prepare("VACUUM INTO ?").run(job.target);
  } finally {
    source.close();
  }
  const copy = open(job.target, "rw");
  try {
    copy.exec("PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF; BEGIN");
    const hadUnfinished = dropUnfinished(copy);
    copy.exec("DELETE FROM request");
    if (!job.files) {
      copy.exec("DELETE FROM file; UPDATE meta SET file_count = 0, file_bytes = 0");
    }
    copy.exec("DELETE FROM file_garbage; COMMIT");
    const facts = factsOf(copy, job.nowUs);
    if (hadUnfinished) expectWhole(copy, facts);
    return facts;
  } finally {
    copy.close();
  }
}

/** Makes a copy that was checked a store of its own, durably; blocks. */
export function completeCopy(path: string): undefined {
  const db = open(path, "rw");
  try {
    db.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; BEGIN");
    db.prepare("UPDATE meta SET incarnation = ?").run(crypto.randomUUID());
    db.exec("DELETE FROM request; DELETE FROM file_garbage; COMMIT");
  } finally {
    db.close();
  }
  syncPathSync(path);
}

/** The name that says what reads a database of this version. */
export function formatOf(db: DatabaseSync): string {
  return `sqlite/${readSchemaVersion(db)}`;
}

function factsOf(db: DatabaseSync, nowUs: bigint): SnapshotFacts {
  const { revision, incarnation, recordCount, fileCount, fileBytes } = readMeta(db);
  const { digests, sizes } = ContentList.of(contentsOf(db));
  return {
    format: formatOf(db),
    revision,
    incarnation,
    recordCount: recordCount - countExpired(db, nowUs),
    files: { count: fileCount, bytes: fileBytes },
    contents: { digests, sizes },
    layout: layoutOf(db),
  };
}

function* contentsOf(db: DatabaseSync): Iterable<ListedContent> {
  for (const row of db.prepare("SELECT DISTINCT sha256, size FROM file").iterate()) {
    yield { sha256: textOf(row, "sha256"), sizeBytes: integerOf(row, "size") };
  }
}

/** Of a copy that has nothing unfinished. */
function layoutOf(db: DatabaseSync): SnapshotFacts["layout"] {
  const fields = db.prepare("SELECT path FROM field_index ORDER BY number").all();
  let text: TextIndexDefinition | undefined;
  const vectors: VectorIndexDefinition[] = [];
  const searches = db.prepare("SELECT kind, definition FROM search_index ORDER BY number").all();
  for (const row of searches) {
    // The store has written it.
    const definition: unknown = JSON.parse(textOf(row, "definition"));
    if (textOf(row, "kind") === "text") text = definition as TextIndexDefinition;
    else vectors.push(definition as VectorIndexDefinition);
  }
  return { indexes: fields.map((row) => ({ path: textOf(row, "path") })), text, vectors };
}

/**
 * A copy has only what is in use: what is being built or dropped at its moment is not.
 *
 * @returns whether there was something
 */
function dropUnfinished(db: DatabaseSync): boolean {
  const fields = db.prepare("SELECT number FROM field_index WHERE state <> 'ready'").all();
  for (const row of fields) {
    db.exec(`DROP TABLE IF EXISTS ${indexTableName(integerOf(row, "number"))}`);
  }
  db.exec("DELETE FROM field_index WHERE state <> 'ready'");
  const searches = db.prepare("SELECT number, kind FROM search_index WHERE state <> 'ready'").all();
  for (const row of searches) {
    const number = integerOf(row, "number");
    const tables = textOf(row, "kind") === "text" ? textTables(number) : vectorTableNames(number);
    for (const table of tables) db.exec(`DROP TABLE IF EXISTS ${table}`);
  }
  if (searches.length === 0) return fields.length > 0;
  db.exec("DELETE FROM search_index WHERE state <> 'ready'; UPDATE meta SET shape = shape + 1");
  return true;
}

/** That nothing of an unfinished index is left is to be known now, and not when the copy is needed. */
function expectWhole(db: DatabaseSync, { layout }: SnapshotFacts): void {
  const [problem] = schemaProblems(db, { ...layout, durability: readMeta(db).durability });
  if (problem === undefined) return;
  throw new CollectorError(
    "INTERNAL",
    `a copy of a store that is altered is not whole: ${problem}`,
  );
}

/** Of an index that is being built, or of one that is being dropped. */
function textTables(number: bigint): readonly string[] {
  return [textTableName(number), ...retiredTables(number).map(({ name }) => name)];
}

function open(path: string, mode: "ro" | "rw"): DatabaseSync {
  const url = pathToFileURL(path);
  url.searchParams.set("mode", mode);
  const db = new DatabaseSync(url, { readBigInts: true, defensive: true, timeout: busyMs });
  db.exec("PRAGMA trusted_schema = OFF");
  return db;
}
