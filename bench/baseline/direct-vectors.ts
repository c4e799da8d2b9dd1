import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { load } from "sqlite-vec";
import { noteOf } from "../../test/support/notes.ts";
import { vectorOf } from "../load/vectors.ts";

/**
 * sqlite-vec alone in one process: the 10 nearest of the vectors of `bench/load`, in a virtual table of
 * its own, filtered by an indexed price before.
 *
 * Arguments: a folder, the number of vectors, their dimensions. Messages: a query; answers the time of
 * each run in ms, and the numbers of the vectors that the last found.
 */
export interface NearestQuery {
  readonly point: readonly number[];
  /** Only notes that cost less; undefined: all. */
  readonly priceBelow: number | undefined;
  readonly runs: number;
}

export interface NearestAnswer {
  readonly timesMs: readonly number[];
  readonly numbers: readonly number[];
}

const [folder = "", records = "0", dimensions = "1"] = process.argv.slice(2);
const db = new DatabaseSync(join(folder, "vec0.sqlite"), { allowExtension: true });
load(db);
db.exec(`
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = OFF;
  PRAGMA temp_store = MEMORY;
  CREATE VIRTUAL TABLE near USING vec0 (value float[${dimensions}] distance_metric=cosine);
  CREATE TABLE price (value, seq, PRIMARY KEY (value, seq)) WITHOUT ROWID;
  BEGIN;
`);
const addVector = db.prepare("INSERT INTO near (rowid, value) VALUES (?, ?)");
const addPrice = db.prepare("INSERT INTO price (value, seq) VALUES (?, ?)");
for (let number = 0; number < Number(records); number += 1) {
  // Only integers are rowids: numbers are bound as floats.
  addVector.run(BigInt(number), new Uint8Array(vectorOf(number, Number(dimensions)).buffer));
  addPrice.run(noteOf(number).priceCents, BigInt(number));
}
db.exec("COMMIT; PRAGMA wal_checkpoint(TRUNCATE)");

const nearest = "SELECT rowid AS number FROM near WHERE value MATCH ? AND k = 10";
const all = db.prepare(`${nearest} ORDER BY distance`);
const filtered = db.prepare(
  `${nearest} AND rowid IN (SELECT seq FROM price WHERE value < ?) ORDER BY distance`,
);

process.on("message", ({ point, priceBelow, runs }: NearestQuery) => {
  const bytes = new Uint8Array(Float32Array.from(point).buffer);
  const timesMs: number[] = [];
  let numbers: number[] = [];
  for (let run = 0; run < runs; run += 1) {
    const begin = performance.now();
    const rows =
      priceBelow === undefined ? all.all(bytes) : filtered.all(bytes, BigInt(priceBelow));
    timesMs.push(performance.now() - begin);
    numbers = rows.map((row) => Number(row["number"]));
  }
  process.send?.({ timesMs, numbers } satisfies NearestAnswer);
});
process.send?.("ready");
