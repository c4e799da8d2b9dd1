import type { Command } from "commander";
import { usageError } from "./failure.ts";

/** Records listed or found unless --limit says otherwise. */
export const limitDefault = 100;

/** What narrows down the records of a command, and orders them. */
export interface FindOptions {
  readonly where?: string;
  readonly orderBy?: string;
  readonly limit?: number;
  readonly explain?: boolean;
  readonly meta?: boolean;
}

/** Adds the options of {@link FindOptions}. */
export function addFindOptions(command: Command): Command {
  return command
    .option("--where <condition>", "as in 'price_cents < 40000 AND tags:\"coffee\"'")
    .option("--order-by <fields>", "as in 'price_cents desc, title'")
    .option("--limit <count>", "how many at most", parseCount, limitDefault)
    .option("--explain", "say how the query ran, and which index would help")
    .option("--meta", "with -o json or jsonl: with id, version, times and labels");
}

/** @throws {CliError} USAGE */
export function parseCount(text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw usageError(`a count is needed here, not \`${text}\``);
}

export function collectList(value: string, previous: readonly string[] = []): readonly string[] {
  return [...previous, ...value.split(",").map((item) => item.trim())];
}
