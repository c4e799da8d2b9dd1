import type { DescMessage, JsonValue } from "@bufbuild/protobuf";
import {
  type Any,
  AnySchema,
  anyPack,
  type Timestamp,
  timestampDate,
} from "@bufbuild/protobuf/wkt";
import type { Client } from "../client/client.ts";
import { ClientError } from "../client/client-error.ts";
import { collectionNameOf } from "../client/collection-name.ts";
import { didYouMean } from "../lib/suggest.ts";
import { CliError } from "./failure.ts";
import { type JsonDocument, parseDocument } from "./json-input.ts";
import type { Column, Output } from "./output.ts";

/** At most this many fields get a column of their own. */
const fieldColumnsMax = 6;

interface Meta {
  readonly id: string;
  readonly version: string;
  readonly createdAt?: Timestamp | undefined;
  readonly updatedAt?: Timestamp | undefined;
  readonly labels: Readonly<Record<string, string>>;
}

/** A record as it is shown. */
export interface ShownRecord {
  readonly id: string;
  /** The item alone, without the name of its type. */
  readonly item: JsonValue;
  /** The item and what the server knows about the record. */
  readonly full: JsonValue;
  readonly score: number | undefined;
}

/** The records of a collection, read and written as JSON. */
export class JsonRecords {
  readonly #client: Client;
  readonly #types: ReturnType<Client["typesOf"]>;
  readonly #namespace: string;
  readonly #collection: string;
  #type: DescMessage | undefined;

  /** @param collection with its namespace before a slash, if it is not in that one */
  constructor(client: Client, namespace: string, collection: string) {
    this.#client = client;
    const named = collectionNameOf(collection, namespace);
    this.#types = client.typesOf(named.namespace);
    this.#namespace = named.namespace;
    this.#collection = named.name;
  }

  /** What requests name the collection by. */
  get target(): { namespace: string; collectionName: string } {
    return { namespace: this.#namespace, collectionName: this.#collection };
  }

  /** Packs a document as an item of the collection's type. @throws {CliError} JSON_INVALID with the place */
  async pack(document: JsonDocument): Promise<Any> {
    const type = await this.#messageType();
    const json = parseDocument(document);
    try {
      return anyPack(type, await this.#types.fromJson(type, json));
    } catch (error) {
      if (!(error instanceof ClientError) || error.reason !== "JSON_INVALID") throw error;
      throw new CliError("JSON_INVALID", `${document.where}: ${await this.#explain(error)}`, {
        cause: error,
        hint: `\`collector schema show ${type.typeName}\` shows its fields`,
      });
    }
  }

  /** The paths of an update mask for keys of a document that was packed, which are names of fields. */
  async pathsOf(keys: readonly string[]): Promise<string[]> {
    const { fields } = await this.#messageType();
    return keys.map((key) => fields.find(({ jsonName }) => jsonName === key)?.name ?? key);
  }

  /** A record for showing. */
  async show(item: Any | undefined, meta: Meta | undefined, score?: number): Promise<ShownRecord> {
    const json = item === undefined ? {} : withoutType(await this.#types.toJson(AnySchema, item));
    const full: { [key: string]: JsonValue } = {
      id: meta?.id ?? "",
      version: meta?.version ?? "",
      labels: { ...meta?.labels },
      item: json,
    };
    if (meta?.createdAt !== undefined) full["createdAt"] = toText(meta.createdAt);
    if (meta?.updatedAt !== undefined) full["updatedAt"] = toText(meta.updatedAt);
    if (score !== undefined) full["score"] = score;
    return { id: meta?.id ?? "", item: json, full, score };
  }

  /** The message of the JSON reader, with the likely field for one that is unknown. */
  async #explain({ message }: ClientError): Promise<string> {
    const match = /^cannot decode message (\S+) from JSON: key "(.+)" is unknown$/.exec(message);
    const [, typeName, key] = match ?? [];
    if (typeName === undefined || key === undefined) return message;
    const { fields } = await this.#types.message(typeName);
    const names = fields.flatMap(({ name, jsonName }) => [jsonName, name]);
    return `${typeName} has no field "${key}"${didYouMean(key, new Set(names))}`;
  }

  async #messageType(): Promise<DescMessage> {
    if (this.#type !== undefined) return this.#type;
    const { collectionDefinition } = await this.#client.services.records.describe(this.target);
    const name = collectionDefinition?.messageType?.messageName ?? "";
    this.#type = await this.#types.message(name);
    return this.#type;
  }
}

/** Prints records: a table of their ids and first plain fields, or their JSON. */
export function printRecords(output: Output, records: readonly ShownRecord[], full: boolean): void {
  const keys = new Set<string>();
  for (const { item } of records) {
    for (const [key, value] of entriesOf(item)) if (isPlain(value)) keys.add(key);
  }
  const columns: Column<ShownRecord>[] = [{ header: "ID", text: ({ id }) => id }];
  for (const key of [...keys].slice(0, fieldColumnsMax)) {
    const text = ({ item }: ShownRecord): string => toCell(valueOf(item, key));
    columns.push({ header: key, text });
  }
  if (records.some(({ score }) => score !== undefined)) {
    columns.push({
      header: "SCORE",
      text: ({ score }) => (score === undefined ? "" : String(Number(score.toPrecision(3)))),
      right: true,
    });
  }
  output.list(records, columns, (record) => (full ? record.full : record.item));
}

function entriesOf(json: JsonValue): [string, JsonValue][] {
  return typeof json === "object" && json !== null && !Array.isArray(json)
    ? Object.entries(json)
    : [];
}

function valueOf(json: JsonValue, key: string): JsonValue | undefined {
  return entriesOf(json).find(([name]) => name === key)?.[1];
}

/** Whether a value says something in one cell. */
function isPlain(value: JsonValue): boolean {
  if (Array.isArray(value)) return value.every((item) => typeof item !== "object");
  return typeof value !== "object";
}

function toCell(value: JsonValue | undefined): string {
  if (value === undefined || value === null) return "";
  if (Array.isArray(value)) return value.map((item) => toCell(item)).join(", ");
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

/** The JSON of what an Any holds; a well-known type has its JSON under `value`. */
function withoutType(json: JsonValue): JsonValue {
  if (typeof json !== "object" || json === null || Array.isArray(json)) return json;
  const { "@type": type, ...rest } = json;
  const isWellKnown = typeof type === "string" && /\/google\.protobuf\.[A-Za-z0-9]+$/.test(type);
  const value = rest["value"];
  return isWellKnown && value !== undefined && Object.keys(rest).length === 1 ? value : rest;
}

function toText(timestamp: Timestamp): string {
  return timestampDate(timestamp).toISOString();
}
