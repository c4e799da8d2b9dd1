import type { Command, Option } from "commander";
import { expectedOfArgument, expectedOfOption, listOptions } from "./kinds.ts";
import type { AskedFor, Names } from "./live-names.ts";

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
  const place = walk(program, words.slice(0, -1));
  const candidates = await candidatesFor({ ...place, last, names });
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
  /** Values of the options that stand before, by their long names. */
  readonly values: ReadonlyMap<string, string>;
}

/** Follows the words down the tree of commands. */
function walk(program: Command, words: readonly string[]): Place {
  let command = program;
  const path: string[] = [];
  const given: string[] = [];
  const values = new Map<string, string>();
  let pending: Option | undefined;
  for (const word of words) {
    if (pending !== undefined) {
      values.set(pending.long ?? "", word);
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
  return { command, path, given, pending, values };
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
  values,
  last,
  names,
}: Place & { readonly last: string; readonly names: Names }): Promise<readonly string[]> {
  const about: AskedFor = { subject: given[0], type: values.get("--type") };
  if (pending !== undefined) {
    const name = pending.long ?? "";
    const { choices, kind } = expectedOfOption(path, name);
    if (choices !== undefined) return choices;
    if (kind === undefined) return [];
    const found = await names.of(kind, about);
    // What stands before the last comma stays.
    const before = listOptions.has(name) ? last.slice(0, last.lastIndexOf(",") + 1) : "";
    return found.map((candidate) => before + candidate);
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
  const { choices, kind } = expectedOfArgument(path, argument.name());
  return choices ?? (kind === undefined ? [] : await names.of(kind, about));
}
