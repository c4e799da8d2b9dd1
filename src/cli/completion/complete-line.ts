import { existsSync } from "node:fs";
import type { DescMessage } from "@bufbuild/protobuf";
import type { Command } from "commander";
import type { CliEnvironment } from "../context.ts";
import { contextsPath } from "../contexts-path.ts";
import { CliError } from "../failure.ts";
import { originOf, QuickCaller } from "../quick-call.ts";
import { findTarget } from "../target.ts";
import { complete } from "./complete.ts";
import { liveNames, type Names } from "./live-names.ts";

/** A shell waits for the answer, so the server has to be quick. */
const askMs = 1000;

/**
 * Prints what the last of `words` may become, a candidate a line. A line that cannot be completed is no
 * reason to tell anything: its writer is at the keyboard.
 */
export async function completeLine(
  program: Command,
  words: readonly string[],
  { env, stdout, signal }: CliEnvironment,
): Promise<void> {
  const names: Names = {
    async of(kind, about) {
      try {
        if (kind === "context") return await contextNames(env);
        const { url, namespace } = await findTarget(targetOptions(words), env, process.cwd());
        const origin = originOf(url.value);
        if (origin === undefined) return [];
        const target = { url: origin, namespace: namespace.value, token: env["COLLECTOR_TOKEN"] };
        using caller = new QuickCaller({ ...target, timeoutMs: askMs, signal });
        return await liveNames({
          caller,
          namespace: namespace.value ?? "",
          messageType: (name) => messageType(name, target, env),
        }).of(kind, about);
      } catch (error) {
        if (error instanceof CliError) return [];
        throw error;
      }
    },
  };
  for (const candidate of await complete(program, words, names)) stdout.write(`${candidate}\n`);
}

/** The descriptor of a type; undefined if there is none. */
async function messageType(
  name: string,
  { url, namespace }: { readonly url: string; readonly namespace: string | undefined },
  env: CliEnvironment["env"],
): Promise<DescMessage | undefined> {
  const { connect } = await import("../../client/client.ts");
  const { ClientError } = await import("../../client/client-error.ts");
  await using client = await connect({ url, namespace, timeoutMs: askMs, env });
  try {
    return await client.messageType(name);
  } catch (error) {
    if (error instanceof ClientError) return undefined;
    throw error;
  }
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
