import { shells } from "./scripts.ts";

/** Kinds of things that a server, or a file here, can be asked the names of. */
export type NameKind =
  | "collection"
  | "type"
  | "method"
  | "service"
  | "endpoint"
  | "file"
  | "field"
  | "attachment"
  | "namespace"
  | "backup"
  | "set"
  | "policy"
  | "operation"
  | "context"
  | "symbol"
  | "any";

/** What the argument of a command is called by, and what of the server that stands for. */
const kindByArgument: Readonly<Record<string, NameKind>> = {
  collection: "collection",
  method: "method",
  query: "type",
  service: "service",
  context: "context",
  set: "set",
};

/** Arguments that have a name that says less, by the command they belong to. */
const kindByCommand: Readonly<Record<string, Readonly<Record<string, NameKind>>>> = {
  "collection alter": { name: "collection" },
  "collection show": { name: "collection" },
  "collection reindex": { name: "collection" },
  "collection rm": { name: "collection" },
  clone: { source: "collection" },
  describe: { name: "any" },
  "file get": { name: "attachment" },
  "file stat": { name: "attachment" },
  "file rm": { name: "attachment" },
  "schema show": { name: "symbol" },
  "schema rm": { file: "file" },
  "service list": { query: "service" },
  "service detach": { address: "endpoint" },
  "backup show": { id: "backup" },
  "backup verify": { id: "backup" },
  "backup restore": { id: "backup" },
  "backup rm": { id: "backup" },
  "backup download": { id: "backup" },
  "backup policy show": { name: "policy" },
  "backup policy put": { name: "policy" },
  "backup policy run": { name: "policy" },
  "backup policy rm": { name: "policy" },
  "namespace rm": { name: "namespace" },
  "ops show": { name: "operation" },
  "ops cancel": { name: "operation" },
};

/** What the value of an option stands for. */
const kindByOption: Readonly<Record<string, NameKind>> = {
  "--type": "type",
  "--namespace": "namespace",
  "--context": "context",
  "--collection": "collection",
  "--base": "backup",
  "--set": "set",
  "--index": "field",
  "--text": "field",
  "--facet": "field",
  "--id-field": "field",
  "--order-by": "field",
  "--where": "field",
  "--expires-at": "field",
};

/** Options with a few values. */
const choicesByOption: Readonly<Record<string, readonly string[]>> = {
  "--output": ["table", "json", "jsonl", "yaml", "name"],
  "--tokenizer": ["words", "exact", "english", "trigram"],
  "--compression": ["zstd", "none"],
  "--log-level": ["trace", "debug", "info", "warn", "error", "fatal", "silent"],
  "--format": ["jsonl", "protobuf"],
};

/** Arguments with a few values. */
const choicesByArgument: Readonly<Record<string, readonly string[]>> = { shell: shells };

/** What may stand in a place: a few words, or names of a kind. */
export interface Expected {
  readonly choices?: readonly string[] | undefined;
  readonly kind?: NameKind | undefined;
}

/** @param path names of the commands down to the one that has the argument */
export function expectedOfArgument(path: readonly string[], name: string): Expected {
  return {
    choices: choicesByArgument[name],
    kind: kindByCommand[path.join(" ")]?.[name] ?? kindByArgument[name],
  };
}

/** @param name of the option, as in `--type` */
export function expectedOfOption(path: readonly string[], name: string): Expected {
  // A file of the registry is not asked for by its media type.
  const kind = path[0] === "file" && name === "--type" ? undefined : kindByOption[name];
  return { choices: choicesByOption[name], kind };
}

/** Options that take several values with commas between them. */
export const listOptions: ReadonlySet<string> = new Set([
  "--index",
  "--text",
  "--facet",
  "--order-by",
]);
