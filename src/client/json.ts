import type { JsonValue } from "@bufbuild/protobuf";

interface ReviverContext {
  /** The text of a number, string, boolean or null. */
  readonly source?: string;
}

/**
 * Parses JSON and keeps integers exact that a JavaScript number cannot hold: they come back as
 * strings, which is how Protobuf's JSON writes 64-bit integers.
 *
 * @throws {SyntaxError} if the text is no JSON
 */
export function parseExactJson(text: string): JsonValue {
  const keepExact = (_key: string, value: unknown, { source }: ReviverContext): unknown => {
    const exact =
      typeof value !== "number" || Number.isSafeInteger(value) || !/^-?\d+$/.test(source ?? "");
    return exact ? value : source;
  };
  // The third argument is in the language since 2025, but not yet in TypeScript's library.
  return JSON.parse(text, keepExact as (key: string, value: unknown) => unknown) as JsonValue;
}
