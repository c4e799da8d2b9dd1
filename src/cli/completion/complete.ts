import type { Command, Option } from "commander";
import type { NameKind, Names } from "./live-names.ts";

/** What the argument of a command is called by, and what of the server that stands for. */
const kindByArgument: Readonly<Record<string, NameKind>> = {
  collection: "collection",
  method: "method",
  query: "type",
};

/** Arguments that only say `name`, by the command they belong to. */
const kindByCommand: Readonly<Record<string, NameKind>> = {
  "collection alter": "collection",
  "collection show": "collection",
  "collection rm": "collection",
  clone: "collection",
  describe: "any",
  "schema show": "type",
  "schema rm": "file",
  "backup show": "backup",
  "backup verify": "backup",
  "backup restore": "backup",
  "backup rm": "backup",
  "backup download": "backup",
  "namespace rm": "namespace",
  "ops show": "operation",
  "ops cancel": "operation",
};

/** What the value of an option stands for. */
const kindByOption: Readonly<Record<string, NameKind>> = {
  "--type": "type",
  "--namespace": "namespace",
  "--index": "field",
  "--text": "field",
  "--facet": "field",
  "--id-field": "field",
  "--order-by": "field",
};

/**
 * What may stand in the place of the last word.
 *
 * @param words of the command line behind the name of the program; the last one may be empty
 * @param names asks the server, which may not answer
 */
export async function complete(
  program: Command,
  words: readonly string[],
  names: Names,
): Promise<readonly string[]> {
  const last = words.at(-1) ?? "";
  const { command, path, given, pending } = walk(program, words.slice(0, -1));
  const candidates = await candidatesFor({ command, path, given, pending, last, names });
  return [...new Set(candidates)].filter((candidate) => candidate.startsWith(last)).sort();
}

interface Place {
  readonly command: Command;
  /** Names of the commands down to it. */
  readonly path: readonly string[];
  /** Arguments that stand before. */
  readonly given: readonly string[];
  /** The option that waits for its value. */
  readonly pending: Option | undefined;
}

/** Follows the words down the tree of commands. */
function walk(program: Command, words: readonly string[]): Place {
  let command = program;
  const path: string[] = [];
  const given: string[] = [];
  let pending: Option | undefined;
  for (const word of words) {
    if (pending !== undefined) {
      pending = undefined;
      continue;
    }
    if (word.startsWith("-")) {
      const option = optionsOf(command).find(({ short, long }) => word === short || word === long);
      if (option?.required === true || option?.optional === true) pending = option;
      continue;
    }
    const child = command.commands.find(
      (candidate) => candidate.name() === word || candidate.aliases().includes(word),
    );
    if (child === undefined || given.length > 0) given.push(word);
    else {
      command = child;
      path.push(child.name());
    }
  }
  return { command, path, given, pending };
}

/** Those of the command, and those that all commands take. */
function optionsOf(command: Command): readonly Option[] {
  const { parent } = command;
  return [...command.options, ...(parent === null ? [] : optionsOf(parent))];
}

async function candidatesFor({
  command,
  path,
  given,
  pending,
  last,
  names,
}: Place & { readonly last: string; readonly names: Names }): Promise<readonly string[]> {
  if (pending !== undefined) {
    if (pending.long === "--output") return ["table", "json", "jsonl", "yaml", "name"];
    const kind = kindByOption[pending.long ?? ""];
    return kind === undefined ? [] : await names.of(kind, given[0]);
  }
  if (last.startsWith("-")) {
    return optionsOf(command).flatMap(({ long, hidden }) =>
      long === undefined || long === null || hidden ? [] : [long],
    );
  }
  if (command.commands.length > 0) return command.commands.map((child) => child.name());
  const expected = command.registeredArguments;
  const argument = expected[given.length] ?? expected.findLast(({ variadic }) => variadic);
  if (argument === undefined) return [];
  const name = argument.name();
  const kind = kindByCommand[path.join(" ")] ?? kindByArgument[name];
  if (kind !== undefined && (given.length === 0 || argument.variadic)) return await names.of(kind);
  return [];
}
