import { createReadStream } from "node:fs";
import type { JsonValue } from "@bufbuild/protobuf";
import { parseExactJson } from "../client/json.ts";
import { exitCodes } from "./exit-codes.ts";
import { CliError, usageError } from "./failure.ts";
import { unreadable } from "./file-failure.ts";

/** One JSON document and where it came from, for messages. */
export interface JsonDocument {
  /** As in `items.jsonl:17`. */
  readonly where: string;
  readonly text: string;
}

/** Longest line of a file. */
const lineCharsMax = 64 * 1024 * 1024;

/**
 * Reads documents from `-d`: JSON itself, `@FILE`, or `-` for stdin. A file holds one document, an
 * array of them, or one a line; lines are read as they are needed.
 *
 * @throws {CliError} FILE_UNREADABLE, JSON_INVALID with the line
 */
export async function* readJsonInput(
  data: string,
  { stdin }: { readonly stdin: NodeJS.ReadStream },
): AsyncIterable<JsonDocument> {
  if (data === "-") {
    if (stdin.isTTY)
      throw usageError(
        "-d - reads from stdin, which is this terminal",
        "pipe JSON in, or use -d @FILE",
      );
    yield* documentsOf("stdin", stdin);
  } else if (data.startsWith("@")) {
    const path = data.slice(1);
    if (path === "-") yield* documentsOf("stdin", stdin);
    else yield* readJsonFile(path);
  } else {
    yield* split("-d", data);
  }
}

/** Reads the documents of a file. @throws {CliError} FILE_UNREADABLE, JSON_INVALID with the line */
export async function* readJsonFile(path: string): AsyncIterable<JsonDocument> {
  const stream = createReadStream(path);
  try {
    yield* documentsOf(path, stream);
  } catch (error) {
    if (error instanceof Error && "syscall" in error) throw unreadable(path, error);
    throw error;
  } finally {
    stream.destroy();
  }
}

/** Parses a document. @throws {CliError} JSON_INVALID with the place */
export function parseDocument({ where, text }: JsonDocument): JsonValue {
  try {
    return parseExactJson(text);
  } catch (error) {
    throw invalidJson(where, error);
  }
}

async function* documentsOf(
  name: string,
  stream: AsyncIterable<Buffer | string>,
): AsyncIterable<JsonDocument> {
  const lines = linesOf(name, stream);
  const first = await nextFilled(lines);
  if (first === undefined) return;
  if (isDocument(first.text)) {
    yield first;
    // A line each.
    for await (const line of lines) if (line.text.trim() !== "") yield line;
    return;
  }
  const rest: string[] = [first.text];
  for await (const line of lines) rest.push(line.text);
  yield* split(name, rest.join("\n"));
}

/** One document, or each item of an array. */
function* split(name: string, text: string): Iterable<JsonDocument> {
  let value: JsonValue;
  try {
    value = parseExactJson(text);
  } catch (error) {
    // Lines on the command line are documents too.
    const lines = text.split("\n").filter((line) => line.trim() !== "");
    if (lines.length > 1 && lines.every(isDocument)) {
      for (const [index, line] of lines.entries())
        yield { where: `${name}:${index + 1}`, text: line };
      return;
    }
    throw invalidJson(name, error);
  }
  if (!Array.isArray(value)) {
    yield { where: name, text };
    return;
  }
  for (const [index, item] of value.entries()) {
    yield { where: `${name}[${index}]`, text: JSON.stringify(item) };
  }
}

async function* linesOf(
  name: string,
  stream: AsyncIterable<Buffer | string>,
): AsyncGenerator<JsonDocument> {
  const decoder = new TextDecoder();
  let number = 0;
  let open = "";
  for await (const chunk of stream) {
    open += typeof chunk === "string" ? chunk : decoder.decode(chunk, { stream: true });
    const lines = open.split("\n");
    open = lines.pop() ?? "";
    if (open.length > lineCharsMax) {
      throw new CliError(
        "JSON_INVALID",
        `${name}:${number + 1} is longer than ${lineCharsMax} characters`,
      );
    }
    for (const text of lines) {
      number += 1;
      yield { where: `${name}:${number}`, text };
    }
  }
  open += decoder.decode();
  if (open !== "") yield { where: `${name}:${number + 1}`, text: open };
}

async function nextFilled(lines: AsyncGenerator<JsonDocument>): Promise<JsonDocument | undefined> {
  for (;;) {
    const { value, done } = await lines.next();
    if (done === true) return undefined;
    if (value.text.trim() !== "") return value;
  }
}

/** Whether a line is a whole object, as in JSONL. */
function isDocument(line: string): boolean {
  if (!line.trimStart().startsWith("{")) return false;
  try {
    parseExactJson(line);
    return true;
  } catch (error) {
    if (error instanceof SyntaxError) return false;
    throw error;
  }
}

function invalidJson(where: string, error: unknown): CliError {
  const why = error instanceof Error ? error.message : String(error);
  return new CliError("JSON_INVALID", `${where}: ${why}`, {
    cause: error,
    exitCode: exitCodes.failed,
    hint: "give an object, an array of objects, or one object a line",
  });
}
