import { createRequire } from "node:module";
import { stripVTControlCharacters, styleText } from "node:util";
import type { JsonValue } from "@bufbuild/protobuf";
import type { Failure } from "./failure.ts";

export type OutputFormat = "table" | "json" | "jsonl" | "yaml" | "name";

export const outputFormats: readonly OutputFormat[] = ["table", "json", "jsonl", "yaml", "name"];

/** Longest text in one cell of a table. */
const cellCharsMax = 48;

/** The column, and the members of a document, that say what a thing is called. */
const nameHeaders: ReadonlySet<string> = new Set(["ID", "NAME"]);
const nameKeys = ["id", "name", "backupId", "collectionId", "collectorId"] as const;

export interface Column<T> {
  readonly header: string;
  readonly text: (item: T) => string;
  /** Numbers stand at the right. */
  readonly right?: boolean;
  /** However long it is, nothing of it is left out; for the last column. */
  readonly whole?: boolean;
}

export interface OutputOptions {
  readonly format: OutputFormat;
  readonly color: boolean;
  readonly stdout: NodeJS.WritableStream;
  readonly stderr: NodeJS.WritableStream;
}

/** Where commands write: data goes to stdout, everything said about it to stderr. */
export class Output {
  readonly format: OutputFormat;
  readonly #color: boolean;
  readonly #stdout: NodeJS.WritableStream;
  readonly #stderr: NodeJS.WritableStream;

  constructor(options: OutputOptions) {
    this.format = options.format;
    this.#color = options.color;
    this.#stdout = options.stdout;
    this.#stderr = options.stderr;
  }

  /** A result in one sentence: the sentence for people, `json` for programs. */
  result(sentence: string, json: JsonValue): void {
    if (this.format === "table") this.line(sentence);
    else this.json(json);
  }

  /** One document: indented, but a line of its own as `jsonl`; of `name`, only what it is called. */
  json(value: JsonValue): void {
    if (this.format === "yaml") this.#stdout.write(`---\n${toYaml(value)}`);
    else if (this.format === "name") this.#names(value);
    else this.line(JSON.stringify(value, undefined, this.format === "jsonl" ? undefined : 2));
  }

  /** Many things: a table, an array, or a line each. */
  list<T>(
    items: readonly T[],
    columns: readonly Column<T>[],
    toJson: (item: T) => JsonValue,
  ): void {
    if (this.format === "json" || this.format === "yaml") this.json(items.map(toJson));
    else if (this.format === "name") this.#listNames(items, columns);
    else if (this.format === "jsonl") for (const item of items) this.json(toJson(item));
    else if (items.length > 0) this.#table(items, columns);
  }

  /** Names and values, one pair a line. */
  facts(facts: readonly (readonly [string, string])[], json: JsonValue): void {
    if (this.format !== "table") {
      this.json(json);
      return;
    }
    const width = Math.max(...facts.map(([name]) => name.length));
    for (const [name, value] of facts) this.line(`${name.padEnd(width)}  ${printable(value)}`);
  }

  /** A line of data. */
  line(text: string): void {
    this.#stdout.write(`${text}\n`);
  }

  /** A line about the data; it gets in the way of no pipe. */
  note(text: string): void {
    this.#stderr.write(`${text}\n`);
  }

  /** Says why the command failed and what to do next: two lines for people, a document for programs. */
  failure(failure: Failure): void {
    const { code, message, field, hint, retryable } = failure;
    if (this.format !== "table") {
      const json = { code, message, field, hint, retryable };
      // Through JSON, which leaves out what is not set.
      const text = JSON.stringify(json);
      if (this.format === "yaml")
        this.#stderr.write(`---\n${toYaml(JSON.parse(text) as JsonValue)}`);
      else this.note(text);
      return;
    }
    this.note(`${this.style("red", "error:")} ${message}`);
    if (hint !== undefined) this.note(`  ${hint}`);
  }

  style(style: "bold" | "dim" | "red" | "green", text: string): string {
    return this.#color ? styleText(style, text, { validateStream: false }) : text;
  }

  #listNames<T>(items: readonly T[], columns: readonly Column<T>[]): void {
    const column = columns.find(({ header }) => nameHeaders.has(header)) ?? columns[0];
    if (column === undefined) return;
    for (const item of items) this.line(printable(column.text(item)));
  }

  #names(value: JsonValue): void {
    for (const item of Array.isArray(value) ? value : [value]) {
      if (typeof item === "string") this.line(printable(item));
      if (typeof item !== "object" || item === null || Array.isArray(item)) continue;
      const name = nameKeys.map((key) => item[key]).find((text) => typeof text === "string");
      if (typeof name === "string") this.line(printable(name));
      else if (Array.isArray(item["ids"])) this.#names(item["ids"]);
    }
  }

  #table<T>(items: readonly T[], columns: readonly Column<T>[]): void {
    const rows = items.map((item) =>
      columns.map(({ text, whole = false }) => {
        const cell = printable(text(item));
        return whole ? cell : cut(cell);
      }),
    );
    const widths = columns.map(({ header }, index) =>
      Math.max(header.length, ...rows.map((row) => widthOf(row[index] ?? ""))),
    );
    const write = (cells: readonly string[], style: (text: string) => string): void => {
      const padded = cells.map((cell, index) => {
        const gap = " ".repeat((widths[index] ?? 0) - widthOf(cell));
        return columns[index]?.right === true ? gap + cell : cell + gap;
      });
      this.line(style(padded.join("  ").trimEnd()));
    };
    write(
      columns.map(({ header }) => header),
      (text) => this.style("bold", text),
    );
    for (const row of rows) write(row, (text) => text);
  }
}

/** Loads what writes YAML when somebody wants it: it takes longer than all else that a command starts with. */
function toYaml(value: JsonValue): string {
  const { stringify } = createRequire(import.meta.url)("yaml") as typeof import("yaml");
  return stringify(value);
}

/** Text of records may hold anything: nothing of it may steer the terminal or break a line. */
function printable(text: string): string {
  return stripVTControlCharacters(text).replace(/\p{Cc}+/gu, " ");
}

function cut(text: string): string {
  const chars = Array.from(text);
  return chars.length <= cellCharsMax ? text : `${chars.slice(0, cellCharsMax - 1).join("")}…`;
}

/** How many columns a terminal takes, near enough: wide characters take two. */
function widthOf(text: string): number {
  let width = 0;
  for (const char of text) {
    width +=
      /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|\p{Extended_Pictographic}/u.test(
        char,
      )
        ? 2
        : 1;
  }
  return width;
}

/** A count with its noun, as in `1 message` and `1,204 messages`. */
export function count(number: number | bigint, noun: string, plural: string = `${noun}s`): string {
  return `${number.toLocaleString("en")} ${number === 1 || number === 1n ? noun : plural}`;
}

/** Bytes as people write them, as in `34.6 MB`. */
export function formatBytes(bytes: bigint): string {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  let value = Number(bytes);
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return unit === 0 ? `${value} bytes` : `${value.toFixed(1)} ${units[unit]}`;
}
