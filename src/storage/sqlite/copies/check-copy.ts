import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { DatabaseSync, type SQLOutputValue } from "node:sqlite";
import { pathToFileURL } from "node:url";
import { CollectorError } from "../../../errors.ts";
import { ContentList } from "../../../lib/content-list.ts";
import type { CopyProgress, RecordCheck } from "../../store-copies.ts";
import { integerOf, textOf } from "../connection.ts";
import { parseLabels } from "../labels.ts";
import { rowsOf } from "../query/record-rows.ts";
import { countExpired, readMeta, readSchemaVersion, schemaVersion } from "../schema.ts";
import type { CopyJob } from "./copy-jobs.ts";
import { rangeProblems, recordFault } from "./copy-ranges.ts";
import { schemaProblems } from "./expected-schema.ts";
import { formatOf } from "./take-snapshot.ts";

/** Problems that are told; a damaged file can have any number. */
const problemsMax = 100;

/** Records between two reports of progress. */
const recordsPerReport = 5_000;

const idBytesMax = 1024;
const fileHead = "SQLite format 3\0";

type Value = SQLOutputValue | undefined;

type Problem = string | undefined;

type CheckRecord = (data: Uint8Array) => Problem | Promise<Problem>;

/** Reads all of a copy; blocks. @returns what is wrong */
export async function checkCopy(
  job: CopyJob & { readonly kind: "check" },
  onProgress: (progress: CopyProgress) => void,
): Promise<readonly string[]> {
  const check = job.record === undefined ? undefined : await loadCheck(job.record);
  const ofFile = fileProblems(job.path);
  if (ofFile.length > 0) return ofFile;
  const url = pathToFileURL(job.path);
  url.searchParams.set("mode", "rw");
  const db = new DatabaseSync(url, { readBigInts: true, defensive: true });
  try {
    db.exec(`
      PRAGMA trusted_schema = OFF;
      PRAGMA cell_size_check = ON;
      PRAGMA temp_store = MEMORY;
    `);
    return await new CopyChecker(db, job, check, onProgress).run();
  } catch (error) {
    return [`database: it cannot be read: ${reasonOf(error)}`];
  } finally {
    db.close();
  }
}

type CheckJob = CopyJob & { readonly kind: "check" };

class CopyChecker {
  readonly #db: DatabaseSync;
  readonly #expected: CheckJob["expected"];
  readonly #nowUs: bigint;
  readonly #check: CheckRecord | undefined;
  readonly #onProgress: (progress: CopyProgress) => void;
  readonly #problems: string[] = [];

  constructor(
    db: DatabaseSync,
    { expected, nowUs }: CheckJob,
    check: CheckRecord | undefined,
    onProgress: (progress: CopyProgress) => void,
  ) {
    this.#db = db;
    this.#expected = expected;
    this.#nowUs = nowUs;
    this.#check = check;
    this.#onProgress = onProgress;
  }

  async run(): Promise<readonly string[]> {
    const version = readSchemaVersion(this.#db);
    if (version !== schemaVersion) {
      return [`database: it has format ${version}, this server reads ${schemaVersion}`];
    }
    // What the tables are called decides what all later statements mean.
    const schema = schemaProblems(this.#db, this.#expected.layout);
    if (schema.length > 0) return schema.slice(0, problemsMax);
    for (const row of this.#db.prepare(`PRAGMA integrity_check(${problemsMax})`).iterate()) {
      const text = String(row["integrity_check"]);
      if (text !== "ok") this.#add(`database: ${text.slice(0, 200)}`);
    }
    if (this.#problems.length > 0) return this.#problems;
    this.#checkMeta();
    this.#checkFiles();
    await this.#checkRecords();
    return this.#problems;
  }

  #checkMeta(): void {
    const { format, revision, incarnation, recordCount, files, layout } = this.#expected;
    const meta = readMeta(this.#db);
    this.#same("format", formatOf(this.#db), format);
    this.#same("revision", meta.revision, revision);
    this.#same("incarnation", meta.incarnation, incarnation);
    this.#same("durability", meta.durability, layout.durability);
    this.#same("files", meta.fileCount, files.count);
    this.#same("bytes of files", meta.fileBytes, files.bytes);
    for (const problem of rangeProblems(this.#db, meta, problemsMax)) this.#add(problem);
    const rows = integerOf(this.#db.prepare("SELECT count(*) AS rows FROM record").get(), "rows");
    this.#same("records", meta.recordCount, rows);
    // Some may have expired since the copy was made.
    const alive = rows - countExpired(this.#db, this.#nowUs);
    if (recordCount > rows || recordCount < alive) this.#same("records", rows, recordCount);
  }

  #checkFiles(): void {
    const sent = this.#expected.contents;
    const row = this.#db
      .prepare("SELECT count(*) AS count, coalesce(sum(size), 0) AS bytes FROM file")
      .get();
    this.#same("names of files", integerOf(row, "count"), this.#expected.files.count);
    this.#same("bytes of named files", integerOf(row, "bytes"), this.#expected.files.bytes);
    if (sent === undefined) return;
    const contents = new ContentList(sent.digests, sent.sizes);
    for (const file of this.#db.prepare("SELECT owner, name, sha256, size FROM file").iterate()) {
      const sha256 = textOf(file, "sha256");
      if (contents.sizeOf(sha256) === integerOf(file, "size")) continue;
      this.#add(`files/${sha256.slice(0, 64)}: the content of ${textOf(file, "name")} is missing`);
    }
  }

  async #checkRecords(): Promise<void> {
    const total = this.#expected.recordCount;
    let done = 0;
    const records = this.#db.prepare(
      `SELECT id, labels, json_valid(document, 8), data, ${recordFault} FROM record`,
    );
    records.setReturnArrays(true);
    const { revision } = this.#expected;
    for (const [id, labels, sound, data, fault] of rowsOf(records.iterate({ revision }))) {
      const found =
        typeof fault === "string" ? fault : this.#recordProblem(id, labels, sound, data);
      // Most are told at once, and a turn of the event loop for each would take longer than the check.
      const problem = found instanceof Promise ? await found : found;
      if (problem !== undefined) this.#add(`record ${String(id).slice(0, 256)}: ${problem}`);
      if (this.#problems.length >= problemsMax) return;
      done += 1;
      if (done % recordsPerReport === 0) this.#onProgress({ done: BigInt(done), total });
    }
  }

  #recordProblem(id: Value, labels: Value, sound: Value, data: Value): ReturnType<CheckRecord> {
    if (typeof id !== "string" || id === "" || Buffer.byteLength(id) > idBytesMax) {
      return "its id is none";
    }
    if (sound !== 1n) return "what it is found by is damaged";
    if (typeof labels !== "string" || !isLabels(labels)) return "its labels are damaged";
    if (!(data instanceof Uint8Array)) return "it has no message";
    return this.#check?.(data);
  }

  #same(what: string, found: bigint | string, wanted: bigint | string): void {
    if (found !== wanted) this.#add(`database: ${what}: ${found}, where ${wanted} should be`);
  }

  #add(problem: string): void {
    if (this.#problems.length < problemsMax) this.#problems.push(problem);
  }
}

/** The size of the file has to be what its first page says, before SQLite looks at the rest. */
function fileProblems(path: string): readonly string[] {
  let file: number;
  try {
    file = openSync(path, "r");
  } catch {
    return ["database: it is missing"];
  }
  try {
    const head = Buffer.alloc(100);
    const read = readSync(file, head, 0, head.length, 0);
    if (read < head.length || head.toString("latin1", 0, 16) !== fileHead) {
      return ["database: it is no database"];
    }
    const stored = head.readUInt16BE(16);
    const pageBytes = stored === 1 ? 65_536 : stored;
    const { size } = fstatSync(file);
    if (size !== pageBytes * head.readUInt32BE(28)) {
      return ["database: it is longer or shorter than it says"];
    }
    return [];
  } finally {
    closeSync(file);
  }
}

async function loadCheck({ module, input }: RecordCheck): Promise<CheckRecord> {
  const loaded: unknown = await import(module);
  if (typeof loaded === "object" && loaded !== null && "createRecordCheck" in loaded) {
    const { createRecordCheck } = loaded;
    if (typeof createRecordCheck === "function") return createRecordCheck(input) as CheckRecord;
  }
  throw new CollectorError("INTERNAL", "a module to check records with has no createRecordCheck");
}

function isLabels(text: string): boolean {
  try {
    return Object.values(parseLabels(text)).every((value) => typeof value === "string");
  } catch {
    return false;
  }
}

/** What SQLite says of a damaged file: it names tables and pages, which are ours. */
function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message.slice(0, 200) : "it is damaged";
}
