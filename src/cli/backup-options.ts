import { usageError } from "./failure.ts";

/** @throws {CliError} USAGE for a compression that is none */
export function compressionOf(text: string | undefined): "zstd" | "none" | undefined {
  if (text === undefined || text === "zstd" || text === "none") return text;
  throw usageError(`--compression takes zstd or none, not \`${text}\``);
}

/** Gathers the values of an option that may be repeated. */
export function collect(value: string, previous: readonly string[] = []): readonly string[] {
  return [...previous, value];
}
