import { existsSync } from "node:fs";
import type { Command } from "commander";
import { ClientError } from "../../client/client-error.ts";
import type { CliEnvironment } from "../context.ts";
import { contextsPath } from "../contexts-path.ts";
import { CliError } from "../failure.ts";
import { findTarget } from "../target.ts";
import { complete } from "./complete.ts";
import { liveNames, type Names } from "./live-names.ts";

/**
 * Prints what the last of `words` may become, a candidate a line. A line that cannot be completed is no
 * reason to tell anything: its writer is at the keyboard.
 */
export async function completeLine(
  program: Command,
  words: readonly string[],
  { env, stdout }: CliEnvironment,
): Promise<void> {
  const names: Names = {
    async of(kind, about) {
      try {
        if (kind === "context") return await contextNames(env);
        const target = await findTarget(targetOptions(words), env, process.cwd());
        const { connect } = await import("../../client/client.ts");
        const url = target.url.value;
        await using client = await connect({ url, namespace: target.namespace.value, env });
        return await liveNames(client).of(kind, about);
      } catch (error) {
        if (error instanceof ClientError || error instanceof CliError) return [];
        throw error;
      }
    },
  };
  for (const candidate of await complete(program, words, names)) stdout.write(`${candidate}\n`);
}

async function contextNames(env: CliEnvironment["env"]): Promise<readonly string[]> {
  const path = contextsPath(env);
  if (!existsSync(path)) return [];
  const { readContexts } = await import("../contexts.ts");
  return Object.keys(readContexts(path).contexts);
}

/** The options of the line that say which server is meant. */
function targetOptions(words: readonly string[]): {
  url?: string | undefined;
  namespace?: string | undefined;
  context?: string | undefined;
} {
  const valueOf = (...names: readonly string[]): string | undefined => {
    const at = words.findIndex((word) => names.includes(word));
    return at < 0 || at >= words.length - 2 ? undefined : words[at + 1];
  };
  return {
    url: valueOf("--url"),
    namespace: valueOf("-n", "--namespace"),
    context: valueOf("--context"),
  };
}
