import { DatabaseSync, type SQLInputValue } from "node:sqlite";

/**
 * The same queries as the server's, each by the best plan that is known for it, in one process with
 * nothing around them: no network, no threads, no checks.
 *
 * Argument: the path of a store that a server has. Messages: a query by name with its parameters;
 * answers the time of each run in ms, and the ids of the last.
 */
export interface DirectQuery {
  readonly name: DirectQueryName;
  readonly parameters: readonly (string | number)[];
  readonly runs: number;
}

type DirectQueryName =
  | "text"
  | "filteredText"
  | "filterAndOrder"
  | "order"
  | "orderAfter"
  | "pageStart";

export interface DirectAnswer {
  readonly timesMs: readonly number[];
  readonly ids: readonly string[];
}

const path = process.argv[2] ?? "";
const db = new DatabaseSync(path, { readOnly: true, readBigInts: true });
db.exec("PRAGMA temp_store = MEMORY; PRAGMA query_only = ON");

const text = tableOf("SELECT 'text_' || number AS name FROM search_index WHERE kind = 'text'");
const category = indexOf("category");
const price = indexOf("price_cents");

const hits = (source: string) => `
  SELECT r.id, r.version, r.created_us, r.updated_us, r.labels, r.data, hit.score
  FROM (${source}) hit CROSS JOIN record r ON r.seq = hit.seq
`;
const count = (source: string) => `SELECT count(*) FROM (${source} LIMIT 10001)`;
const record = "r.id, r.version, r.created_us, r.updated_us, r.labels, r.data";
const inCategory = (seq: string) =>
  `EXISTS (SELECT 1 FROM ${category} c WHERE c.value = ?2 AND c.seq = ${seq})`;
const ofText = `SELECT rowid AS seq, rank AS score FROM ${text} WHERE ${text} MATCH ?1`;
const rankedText = `${ofText} ORDER BY +rank LIMIT 10`;
const filteredText = `${ofText} AND ${inCategory(`${text}.rowid`)}`;
const cheapest = `
  SELECT ${record} FROM ${price} p CROSS JOIN record r ON r.seq = p.seq
`;

/** Each is what a search or a list answers: the records of the page, and how many match, up to 10,000. */
const statements: Readonly<Record<DirectQueryName, readonly string[]>> = {
  text: [hits(rankedText), count(`SELECT 1 FROM ${text} WHERE ${text} MATCH ?1`)],
  filteredText: [
    hits(`${filteredText} ORDER BY +rank LIMIT 10`),
    count(`SELECT 1 FROM ${text} WHERE ${text} MATCH ?1 AND ${inCategory(`${text}.rowid`)}`),
  ],
  filterAndOrder: [
    `${cheapest} WHERE EXISTS (SELECT 1 FROM ${category} c WHERE c.value = ?1 AND c.seq = p.seq)
     ORDER BY p.value, p.seq LIMIT 10`,
    count(`SELECT 1 FROM ${category} WHERE value = ?1`),
  ],
  order: [`${cheapest} WHERE ?1 ORDER BY p.value, p.seq LIMIT 10`],
  orderAfter: [`${cheapest} WHERE (p.value, p.seq) > (?1, ?2) ORDER BY p.value, p.seq LIMIT 10`],
  pageStart: [`SELECT p.value, p.seq FROM ${price} p ORDER BY p.value, p.seq LIMIT 1 OFFSET ?1`],
};

process.on("message", ({ name, parameters, runs }: DirectQuery) => {
  const bound = parameters.map(
    (value): SQLInputValue => (typeof value === "number" ? BigInt(value) : value),
  );
  const prepared = statements[name].map((sql) => db.prepare(sql));
  const timesMs: number[] = [];
  let ids: string[] = [];
  for (let run = 0; run < runs; run += 1) {
    const begin = performance.now();
    const [rows = []] = prepared.map((statement) =>
      statement.all(...bound.slice(0, parametersOf(statement.sourceSQL))),
    );
    timesMs.push(performance.now() - begin);
    ids = rows.map((row) => String(row["id"] ?? Object.values(row).join(" ")));
  }
  process.send?.({ timesMs, ids } satisfies DirectAnswer);
});
process.send?.("ready");

function parametersOf(sql: string): number {
  return sql.includes("?2") ? 2 : 1;
}

function indexOf(name: string): string {
  return tableOf(`SELECT 'index_' || number AS name FROM field_index WHERE path = '${name}'`);
}

function tableOf(sql: string): string {
  return String(db.prepare(sql).get()?.["name"]);
}
