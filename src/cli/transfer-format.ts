import { extname } from "node:path";
import { usageError } from "./failure.ts";

/** `jsonl`: one JSON object a line. `protobuf`: collector.CollectionRecord messages, each after its length. */
export type TransferFormat = "jsonl" | "protobuf";

const formats: readonly TransferFormat[] = ["jsonl", "protobuf"];
const protobufExtensions: ReadonlySet<string> = new Set([".pb", ".binpb", ".bin"]);

/** The format that is asked for, else the one that the file's name says. @throws {CliError} USAGE */
export function transferFormat(given: string | undefined, file: string): TransferFormat {
  if (given === undefined) return protobufExtensions.has(extname(file)) ? "protobuf" : "jsonl";
  const format = formats.find((candidate) => candidate === given);
  if (format !== undefined) return format;
  throw usageError(`--format takes ${formats.join(" or ")}, not \`${given}\``);
}
