import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { Tokenizer } from "../../store-layout.ts";
import { integerOf } from "../connection.ts";
import { textTableName } from "../search-tables.ts";
import { type TextLevel, textLevelsReader } from "../text-levels.ts";

/**
 * How much of a text index is merged with each group: about as much as a group adds, times the
 * levels of the index, so that merging keeps up and no group has to do a lot of it at once. Text in
 * threes of characters makes an entry of each.
 */
const mergePagesMin = 8;
const charsPerMergedPage = 512;
const trigramCharsPerMergedPage = 128;

/** How much of it is merged in one step of a quiet moment, in pages of 4 KiB. */
const quietPages = 64n;

/** In how many steps at least a merge is done that may come to its end while a large one waits. */
const stepsToEnd = 16;

/** How many times smaller a merge makes what it reads, besides what is dead: each word is written only once. */
const shrinkMax = 8;

/** Entries from which on a merge has steps that writes should not wait for, some 5 to 8 ms. */
export const largeEntries = 100_000;

/** A group of so many records takes about as long itself as such a step. */
const largeRows = 250;

/** A level that has come to this part of what FTS5 would merge at once is merged, writes or not. */
const forcedShare = 1 / 4;

/** So is one of which so much is dead, in percent. */
const forcedDeadPercent = 70;

/** In a quiet moment all of a large index becomes one segment, if so much of it is dead or in other segments. */
const untidyShare = 1 / 4;

/** What an index was told of when to merge. */
export interface MergeSettings {
  /** Segments of a level that are merged at a time. */
  readonly width: number;
  /** How much of a level may be dead, in percent; 0 if that does not matter. */
  readonly deadPercent: number;
  /** Segments of a level that are merged at once and to the end. */
  readonly crisis: number;
}

/**
 * Merges the segments of a text index, in steps between writes. FTS5 stops a step only behind a word, so one
 * that stands in a million records takes some 40 to 80 ms: such merges wait for a quiet moment, or for a group
 * that takes as long itself, unless there are so many segments that searches would suffer.
 */
export class TextMerges {
  readonly #charsPerPage: number;
  readonly #largeEntries: number;
  readonly #merge: StatementSync;
  readonly #totalChanges: StatementSync;
  readonly #readLevels: () => readonly TextLevel[];
  readonly #settings: MergeSettings;
  #isUntidy = false;

  /** @param large entries from which on an index is large */
  constructor(
    db: DatabaseSync,
    number: bigint,
    tokenizer: Tokenizer,
    large: number = largeEntries,
  ) {
    const table = textTableName(number);
    this.#charsPerPage = tokenizer === "trigram" ? trigramCharsPerMergedPage : charsPerMergedPage;
    this.#largeEntries = large;
    this.#merge = db.prepare(`INSERT INTO ${table} (${table}, rank) VALUES ('merge', ?)`);
    this.#totalChanges = db.prepare("SELECT total_changes() AS changes");
    this.#readLevels = textLevelsReader(db, number);
    this.#settings = readSettings(db, table);
  }

  /** Whether there is something to do in a quiet moment. As of the last group or step. */
  get isUntidy(): boolean {
    return this.#isUntidy;
  }

  /** Merges a little after a group of writes, in its transaction. @throws what SQLite throws */
  afterGroup(rows: number, chars: number): void {
    let pages = mergePagesMin + Math.ceil(chars / this.#charsPerPage);
    const shortStep = Math.max(1, Math.floor(pages / stepsToEnd));
    while (pages > 0) {
      const levels = this.#readLevels();
      const level = nextMerge(levels, this.#settings);
      this.#isUntidy = this.#wouldTidy(levels, level);
      if (level === undefined || !this.#mayMergeNow(level, rows)) return;
      // What is left of a step when a level is done, FTS5 spends on the next one, large or not.
      const othersWait = levels.some((other) => other !== level && !this.#mayMergeNow(other, rows));
      const step = othersWait && mayBeDoneIn(pages, level) ? shortStep : pages;
      this.#merge.run(BigInt(step));
      pages -= step;
    }
  }

  /** Merges a little in a quiet moment, in the caller's transaction. @throws what SQLite throws */
  quietStep(): void {
    const before = this.#readLevels();
    const level = nextMerge(before, this.#settings);
    if (!this.#wouldTidy(before, level)) {
      this.#isUntidy = false;
      return;
    }
    const changes = this.#changesSoFar();
    // A negative number makes all segments one level first.
    this.#merge.run(level === undefined ? -quietPages : quietPages);
    const after = this.#readLevels();
    // Fewer than two are what FTS5 documents for a command that did nothing: to repeat it would not end.
    const hasMerged = this.#changesSoFar() - changes >= 2n;
    this.#isUntidy = hasMerged && this.#wouldTidy(after, nextMerge(after, this.#settings));
  }

  #changesSoFar(): bigint {
    return integerOf(this.#totalChanges.get(), "changes");
  }

  #mayMergeNow(level: TextLevel, rows: number): boolean {
    const { entries, dead, segments } = level;
    return (
      entries <= this.#largeEntries * Math.max(1, rows / largeRows) ||
      segments >= this.#settings.crisis * forcedShare ||
      dead * 100 >= entries * forcedDeadPercent
    );
  }

  #wouldTidy(levels: readonly TextLevel[], next: TextLevel | undefined): boolean {
    const entries = sumOf(levels, (level) => level.entries);
    if (entries <= this.#largeEntries) return false;
    if (next !== undefined && next.entries > this.#largeEntries) return true;
    const dead = sumOf(levels, (level) => level.dead);
    const others = entries - Math.max(...levels.map(({ largest }) => largest));
    return Math.max(dead, others) > entries * untidyShare;
  }
}

/** Whether to write so many pages may be all that is left to do. */
function mayBeDoneIn(pages: number, level: TextLevel): boolean {
  const { segments, merging, entries, dead } = level;
  // The last page of a segment may be almost empty.
  const full = Math.max(0, level.pages - (merging || segments));
  return full * Math.max(0, 1 - dead / Math.max(1, entries)) <= pages * shrinkMax;
}

/** The level that FTS5 merges next if it is told to; undefined if there is none. */
export function nextMerge(
  levels: readonly TextLevel[],
  { width, deadPercent }: MergeSettings,
): TextLevel | undefined {
  // It goes on with a merge before it looks at the levels above.
  const underWay = levels.findIndex(({ merging }) => merging > 0);
  const inReach = underWay < 0 ? levels : levels.slice(0, underWay + 1);
  const countOf = ({ segments, merging }: TextLevel): number => merging || segments;
  const fullest = maxBy(inReach, countOf);
  if (fullest !== undefined && (countOf(fullest) >= width || fullest.merging > 0)) return fullest;
  if (deadPercent === 0) return undefined;
  const percentOf = ({ dead, entries }: TextLevel): number =>
    entries === 0 ? 0 : Math.floor((dead * 100) / entries);
  const deadest = maxBy(inReach, percentOf);
  return deadest !== undefined && percentOf(deadest) >= deadPercent ? deadest : undefined;
}

/** The first that has most. */
function maxBy(
  levels: readonly TextLevel[],
  of: (level: TextLevel) => number,
): TextLevel | undefined {
  return levels.reduce<TextLevel | undefined>(
    (most, level) => (most === undefined || of(level) > of(most) ? level : most),
    undefined,
  );
}

function sumOf(levels: readonly TextLevel[], of: (level: TextLevel) => number): number {
  return levels.reduce((sum, level) => sum + of(level), 0);
}

/** What an index was not told has the value that FTS5 documents. */
function readSettings(db: DatabaseSync, table: string): MergeSettings {
  const rows = db.prepare(`SELECT k, v FROM ${table}_config`).all();
  const settingOf = (name: string, byDefault: number): number => {
    const row = rows.find(({ k }) => k === name);
    return row === undefined ? byDefault : Number(integerOf(row, "v"));
  };
  return {
    width: settingOf("usermerge", 4),
    deadPercent: settingOf("deletemerge", 10),
    crisis: settingOf("crisismerge", 16),
  };
}
