import { type JsonValue, toJson } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import type { Command } from "commander";
import {
  type Facet,
  HighlightSchema,
  type SearchResponse,
  TextSyntax,
} from "../gen/collector/collection_server_pb.ts";
import type { DefineCommands } from "./define-commands.ts";
import { usageError } from "./failure.ts";
import {
  addFindOptions,
  collectList,
  type FindOptions,
  limitDefault,
  parseCount,
} from "./find-options.ts";
import { count, type Output } from "./output.ts";
import { notePlan } from "./query-plan.ts";
import { JsonRecords, printRecords, type ShownRecord } from "./records.ts";

interface SearchOptions extends FindOptions {
  readonly offset?: number;
  readonly advanced?: boolean;
  readonly highlight?: boolean;
  readonly facet?: readonly string[];
  readonly vector?: string;
  readonly vectorField?: string;
  readonly minSimilarity?: number;
}

/** `collector record search …` */
export const defineSearch: DefineCommands = (command, context) => {
  const search: Command = command
    .command("search <collection> [words...]")
    .description("find records: by all these words, a condition, nearness, or several of them");
  addFindOptions(search)
    .option("--offset <count>", "how many of the best to leave out", parseCount, 0)
    .option("--advanced", 'the words may use AND, OR, NOT, "a phrase", prefix* and field:word')
    .option("--highlight", "show the passages that match")
    .option("--facet <fields>", "count the values of these indexed fields", collectList)
    .option("--vector <numbers>", "a point to search near, as in 0.1,0.7,0.2")
    .option("--vector-field <name>", "which vector of the collection is meant")
    .option("--min-similarity <number>", "least similarity to --vector", parseNumber)
    .addHelpText(
      "after",
      `
Examples:
  collector record search products espresso --where 'price_cents < 40000'
  collector record search products --advanced 'title:espresso OR "french press"' --highlight
  collector record search products --where 'tags:"coffee"' --facet brand`,
    )
    .action(async (collection: string, words: string[], options: SearchOptions, self) => {
      const { output, connect, signal, namespace = "" } = context(self);
      await using client = await connect();
      const records = new JsonRecords(client, namespace, collection);
      const response = await client.services.records.search(
        { ...records.target, ...requestOf(words, options) },
        { signal },
      );
      const shown: ShownRecord[] = [];
      for (const { item, meta, score, highlights } of response.results) {
        const record = await records.show(item, meta, score);
        shown.push(options.highlight === true ? withHighlights(record, highlights) : record);
      }
      printRecords(output, shown, options.meta === true || options.highlight === true);
      if (options.highlight === true) notePassages(output, shown, response);
      for (const facet of response.facets) noteFacet(output, facet);
      noteTotal(output, response, words);
      notePlan(output, response.plan);
    });
};

function requestOf(words: readonly string[], options: SearchOptions) {
  const { limit = limitDefault, offset = 0, where = "", orderBy = "", facet = [] } = options;
  return {
    fullText: words.join(" "),
    textSyntax: options.advanced === true ? TextSyntax.ADVANCED : TextSyntax.UNSPECIFIED,
    where,
    orderBy,
    // In a list of fields as people write it, a field without a direction goes upwards.
    ascending: true,
    limit,
    offset,
    facets: [...facet],
    explain: options.explain === true,
    vector: options.vector === undefined ? [] : parseVector(options.vector),
    vectorField: options.vectorField ?? "",
    similarityThreshold: options.minSimilarity ?? 0,
    ...(options.highlight === true ? { highlight: {} } : {}),
  };
}

function withHighlights(
  record: ShownRecord,
  highlights: SearchResponse["results"][number]["highlights"],
): ShownRecord {
  const passages = highlights.map((highlight) => toJson(HighlightSchema, highlight));
  return { ...record, full: { ...asObject(record.full), highlights: passages } };
}

function asObject(json: JsonValue): { [key: string]: JsonValue } {
  return typeof json === "object" && json !== null && !Array.isArray(json) ? json : {};
}

/** In a table there is no room for passages: they follow it. */
function notePassages(
  output: Output,
  shown: readonly ShownRecord[],
  { results }: SearchResponse,
): void {
  if (output.format !== "table") return;
  for (const [index, { highlights }] of results.entries()) {
    for (const { path, passage } of highlights) {
      const place = path === "" ? "" : ` ${path}`;
      output.line(`${shown[index]?.id ?? ""}${place}: ${passage.replace(/\p{Cc}+/gu, " ")}`);
    }
  }
}

function noteFacet(output: Output, { path, values, approximate }: Facet): void {
  output.note(`${path}${approximate ? " (of the first matches)" : ""}:`);
  for (const { value, count: records } of values) {
    const text = value === undefined ? "" : JSON.stringify(toJson(ValueSchema, value));
    output.note(`  ${text}  ${records.toLocaleString("en")}`);
  }
}

function noteTotal(output: Output, response: SearchResponse, words: readonly string[]): void {
  const { results, totalCount, totalCountCapped, approximate } = response;
  if (results.length === 0 && totalCount === 0n) {
    output.note(words.length === 0 ? "nothing found" : `nothing found for ${words.join(" ")}`);
  }
  if (totalCount > BigInt(results.length)) {
    const total = `${totalCountCapped ? "more than " : ""}${totalCount.toLocaleString("en")}`;
    output.note(`${results.length} of ${total}; --limit shows more`);
  }
  if (approximate) {
    output.note(`${count(totalCount, "record")} and more match: not all of them were ranked`);
  }
}

/** @throws {CliError} USAGE */
function parseVector(text: string): number[] {
  return text
    .replace(/^\[|\]$/g, "")
    .split(",")
    .map(parseNumber);
}

/** @throws {CliError} USAGE */
function parseNumber(text: string): number {
  const number = Number(text);
  if (text.trim() !== "" && Number.isFinite(number)) return number;
  throw usageError(`a number is needed here, not \`${text}\``);
}
