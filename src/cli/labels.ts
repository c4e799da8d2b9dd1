import { usageError } from "./failure.ts";

/** Labels as options give them, `key=value` each. @throws {CliError} USAGE */
export function parseLabels(texts: readonly string[]): Record<string, string> {
  const labels = texts.map((text): [string, string] => {
    const at = text.indexOf("=");
    if (at < 1) throw usageError(`--label takes key=value, not \`${text}\``);
    return [text.slice(0, at), text.slice(at + 1)];
  });
  return Object.fromEntries(labels);
}
