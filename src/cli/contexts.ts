import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { parse, stringify } from "yaml";
import { z } from "zod";
import { CliError, codeOf } from "./failure.ts";

/** A server that the user has given a name. */
export interface ServerContext {
  readonly url: string;
  readonly namespace?: string | undefined;
}

/** The servers that the user has given names. */
export interface Contexts {
  /** Name of the one that is used unless something else is said. */
  readonly current?: string | undefined;
  readonly contexts: Readonly<Record<string, ServerContext>>;
}

const schema = z.strictObject({
  current: z.string().optional(),
  contexts: z
    .record(
      z.string(),
      z.strictObject({ url: z.string().min(1), namespace: z.string().min(1).optional() }),
    )
    .default({}),
});

/** @throws {CliError} CONTEXTS_INVALID if the file is none that this command has written */
export function readContexts(path: string): Contexts {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    const code = codeOf(error);
    if (code === "ENOENT" || code === "ENOTDIR") return { contexts: {} };
    throw invalid(path, error instanceof Error ? error.message : String(error));
  }
  const parsed = schema.safeParse(readYaml(path, text) ?? {});
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw invalid(path, `${issue?.path.join(".") ?? ""}: ${issue?.message ?? "is not valid"}`);
}

/** Replaces the file as a whole. */
export function writeContexts(path: string, contexts: Contexts): void {
  mkdirSync(dirname(path), { recursive: true });
  const unfinished = `${path}.${process.pid}`;
  writeFileSync(unfinished, stringify(contexts), { mode: 0o600 });
  renameSync(unfinished, path);
}

function readYaml(path: string, text: string): unknown {
  try {
    return parse(text);
  } catch (error) {
    throw invalid(path, error instanceof Error ? error.message : String(error));
  }
}

function invalid(path: string, why: string): CliError {
  return new CliError("CONTEXTS_INVALID", `${path}: ${why}`, {
    hint: "mend or remove the file; `collector config set` writes it",
  });
}
