import { usageError } from "./failure.ts";

/** Labels as options give them, `key=value` each. @throws {CliError} USAGE */
export function parseLabels(texts: readonly string[]): Record<string, string> {
  return parsePairs(texts, "--label");
}

/** `key=value` each, as `option` takes them. @throws {CliError} USAGE */
export function parsePairs(texts: readonly string[], option: string): Record<string, string> {
  const pairs = texts.map((text): [string, string] => {
    const at = text.indexOf("=");
    if (at < 1) throw usageError(`${option} takes key=value, not \`${text}\``);
    return [text.slice(0, at), text.slice(at + 1)];
  });
  return Object.fromEntries(pairs);
}
