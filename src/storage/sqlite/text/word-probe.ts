import { DatabaseSync, type StatementSync } from "node:sqlite";
import type { Tokenizer } from "../../store-layout.ts";
import { tokenizerOf } from "../search-tables.ts";

interface Probe {
  readonly insert: StatementSync;
  readonly first: StatementSync;
  readonly clear: StatementSync;
}

const probes = new Map<Tokenizer, Probe>();

/** Text of which it is known at a glance that there is a word in it. */
const surelyWord = /[0-9A-Za-z]/;
const surelyTrigram = /[0-9A-Za-z]{3}/;

/** True if the tokenizer makes a word of anything in the text: it is asked itself, so this is exact. */
export function hasWord(tokenizer: Tokenizer, text: string): boolean {
  if ((tokenizer === "trigram" ? surelyTrigram : surelyWord).test(text)) return true;
  let probe = probes.get(tokenizer);
  if (probe === undefined) {
    probe = openProbe(tokenizer);
    probes.set(tokenizer, probe);
  }
  probe.insert.run(text);
  try {
    return probe.first.get() !== undefined;
  } finally {
    probe.clear.run();
  }
}

/** A table in memory, which is there as long as the process. */
function openProbe(tokenizer: Tokenizer): Probe {
  const db = new DatabaseSync(":memory:");
  db.exec(`
    CREATE VIRTUAL TABLE probe USING fts5(
      text, content = '', tokenize = "${tokenizerOf({ tokenizer, fields: [] })}"
    );
    CREATE VIRTUAL TABLE word USING fts5vocab(probe, row);
  `);
  return {
    insert: db.prepare("INSERT INTO probe (rowid, text) VALUES (1, ?)"),
    first: db.prepare("SELECT 1 FROM word LIMIT 1"),
    clear: db.prepare("INSERT INTO probe (probe) VALUES ('delete-all')"),
  };
}
