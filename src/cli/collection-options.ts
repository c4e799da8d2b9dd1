import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Command } from "commander";
import {
  type ExpirySchema,
  TextSearch_Tokenizer,
  type TextSearchSchema,
  VectorField_Metric,
  type VectorFieldSchema,
} from "../gen/collector/collection_pb.ts";
import { usageError } from "./failure.ts";
import { collectList } from "./find-options.ts";

/** What can be chosen when a collection is made, and changed later. */
export interface SearchSetup {
  readonly index?: readonly string[];
  /** Undefined: as it is; false: no full text. */
  readonly text?: readonly string[] | false;
  readonly tokenizer?: string;
  readonly vector?: readonly string[];
  readonly expiresAt?: string;
  readonly ttl?: string;
}

const tokenizers: Readonly<Record<string, TextSearch_Tokenizer>> = {
  words: TextSearch_Tokenizer.WORDS,
  exact: TextSearch_Tokenizer.EXACT_WORDS,
  english: TextSearch_Tokenizer.ENGLISH,
  trigram: TextSearch_Tokenizer.TRIGRAM,
};

const metrics: Readonly<Record<string, VectorField_Metric>> = {
  cosine: VectorField_Metric.COSINE,
  l2: VectorField_Metric.L2,
};

/** Adds the options of {@link SearchSetup}. */
export function addSearchSetup(command: Command): Command {
  return command
    .option("--index <fields>", "fields to index, as in price_cents,tags", collectList)
    .option(
      "--text <fields>",
      "fields of full-text search with weights, as in title:3,body",
      collectList,
    )
    .option("--no-text", "no full-text search")
    .option("--tokenizer <name>", `how text becomes words: ${Object.keys(tokenizers).join(", ")}`)
    .option(
      "--vector <name:size>",
      "a vector: name:size[:cosine|l2][:field], as in image:384 or meaning:384:cosine:embedding",
      collectList,
    )
    .option("--expires-at <field>", "records vanish at the time in this field")
    .option("--ttl <time>", "records vanish so long after their last write, as in 30d, 12h or 90s");
}

/** Undefined if the options say nothing of it. @throws {CliError} USAGE */
export function textSearchOf({
  text,
  tokenizer,
}: SearchSetup): MessageInitShape<typeof TextSearchSchema> | undefined {
  if (text === false) return { disabled: true };
  // Commander sets an option that also has a --no- form to true.
  const fields = Array.isArray(text) ? text : [];
  if (fields.length === 0 && tokenizer === undefined) return undefined;
  return {
    fields: fields.map(parseTextField),
    tokenizer: tokenizer === undefined ? 0 : choose("--tokenizer", tokenizer, tokenizers),
  };
}

/** @throws {CliError} USAGE */
export function vectorFieldsOf({
  vector = [],
}: SearchSetup): MessageInitShape<typeof VectorFieldSchema>[] {
  return vector.map((text) => {
    const [name = "", size = "", ...rest] = text.split(":");
    const metric =
      rest[0] !== undefined && Object.hasOwn(metrics, rest[0]) ? rest.shift() : undefined;
    const [path = "", ...more] = rest;
    if (!/^\d{1,5}$/.test(size) || more.length > 0) {
      throw usageError(`--vector takes name:size[:cosine|l2][:field], not \`${text}\``);
    }
    return {
      name,
      dimensions: Number(size),
      path,
      metric: metric === undefined ? 0 : choose("--vector", metric, metrics),
    };
  });
}

/** Undefined if the options say nothing of it. @throws {CliError} USAGE */
export function expiryOf({
  expiresAt,
  ttl,
}: SearchSetup): MessageInitShape<typeof ExpirySchema> | undefined {
  if (expiresAt !== undefined && ttl !== undefined) {
    throw usageError("--expires-at and --ttl exclude each other");
  }
  if (expiresAt !== undefined) return { when: { case: "timestampField", value: expiresAt } };
  if (ttl === undefined) return undefined;
  return { when: { case: "timeToLive", value: { seconds: parseSeconds(ttl), nanos: 0 } } };
}

const unitSeconds: Readonly<Record<string, bigint>> = { s: 1n, m: 60n, h: 3600n, d: 86_400n };

function parseSeconds(text: string): bigint {
  const [, number = "", unit = ""] = /^(\d{1,9})([smhd])$/.exec(text) ?? [];
  const seconds = unitSeconds[unit];
  if (seconds !== undefined) return BigInt(number) * seconds;
  throw usageError(`--ttl takes a time such as 90s, 15m, 12h or 30d, not \`${text}\``);
}

function parseTextField(text: string): { path: string; weight: number } {
  const [path = "", weight = "1", ...more] = text.split(":");
  if (more.length === 0 && Number(weight) > 0) return { path, weight: Number(weight) };
  throw usageError(`--text takes fields with weights, as in title:3,body, not \`${text}\``);
}

function choose<T>(option: string, name: string, from: Readonly<Record<string, T>>): T {
  const value = Object.hasOwn(from, name) ? from[name] : undefined;
  if (value !== undefined) return value;
  throw usageError(`${option} takes ${Object.keys(from).join(", ")}, not \`${name}\``);
}
