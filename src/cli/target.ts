import { existsSync } from "node:fs";
import { join } from "node:path";
import { contextsPath } from "./contexts-path.ts";
import { exitCodes } from "./exit-codes.ts";
import { CliError } from "./failure.ts";

/** Where a setting came from, the strongest first. */
export type TargetOrigin = "flag" | "environment" | "file" | "context" | "default";

export interface Sourced {
  /** Undefined leaves it to the default. */
  readonly value: string | undefined;
  readonly origin: TargetOrigin;
  /** Name of the file or the context. */
  readonly from?: string | undefined;
}

/** Which server to talk to, and about which namespace. */
export interface Target {
  readonly url: Sourced;
  readonly namespace: Sourced;
}

export interface TargetOptions {
  readonly url?: string | undefined;
  readonly namespace?: string | undefined;
  readonly context?: string | undefined;
}

type Env = Readonly<Record<string, string | undefined>>;

/** The configuration of a server that is read if it lies in the folder of the command. */
export const configFileName = "collector.yaml";

/** Whether there is a {@link configFileName} here. */
export function configFileIn(folder: string): string | undefined {
  const path = join(folder, configFileName);
  return existsSync(path) ? path : undefined;
}

/**
 * Finds the server: a flag, else the environment, else the address in `./collector.yaml`, else the context
 * that is in use, else the default. A context that is named goes where its name stands.
 *
 * @throws {CliError} CONTEXT_NOT_FOUND; what `loadConfig` throws
 */
export async function findTarget(
  options: TargetOptions,
  env: Env,
  folder: string,
): Promise<Target> {
  const layers = [
    await flagLayer(options, env),
    await environmentLayer(env),
    await fileLayer(folder, env),
    await contextLayer(undefined, env, "context"),
  ];
  const pick = (key: keyof Layer): Sourced =>
    layers.map((layer) => layer[key]).find((found) => found !== undefined) ?? {
      value: undefined,
      origin: "default",
    };
  return { url: pick("url"), namespace: pick("namespace") };
}

interface Layer {
  readonly url?: Sourced | undefined;
  readonly namespace?: Sourced | undefined;
}

async function flagLayer(options: TargetOptions, env: Env): Promise<Layer> {
  const named = await contextLayer(options.context, env, "flag");
  return {
    url: sourced(options.url, "flag") ?? (options.context === undefined ? undefined : named.url),
    namespace:
      sourced(options.namespace, "flag") ??
      (options.context === undefined ? undefined : named.namespace),
  };
}

async function environmentLayer(env: Env): Promise<Layer> {
  const context = text(env["COLLECTOR_CONTEXT"]);
  const named: Layer = context === undefined ? {} : await contextLayer(context, env, "environment");
  return {
    url: sourced(text(env["COLLECTOR_URL"]), "environment") ?? named.url,
    namespace: sourced(text(env["COLLECTOR_NAMESPACE"]), "environment") ?? named.namespace,
  };
}

/** The address that a server started here would listen on. */
async function fileLayer(folder: string, env: Env): Promise<Layer> {
  const path = configFileIn(folder);
  if (path === undefined) return {};
  const { loadConfig } = await import("../config.ts");
  const { config, origins } = loadConfig({ flags: {}, env, file: path });
  if (origins.port !== "file" && origins.host !== "file") return {};
  const { host, port, tlsCert } = config;
  const reachable = host === "0.0.0.0" || host === "::" ? "127.0.0.1" : host;
  const authority = reachable.includes(":") ? `[${reachable}]` : reachable;
  const value = `${tlsCert === undefined ? "http" : "https"}://${authority}:${port}`;
  return port === 0 ? {} : { url: { value, origin: "file", from: configFileName } };
}

async function contextLayer(
  name: string | undefined,
  env: Env,
  origin: TargetOrigin,
): Promise<Layer> {
  // What reads the file takes a while to load, and most people have none.
  const path = contextsPath(env);
  const contexts = existsSync(path)
    ? (await import("./contexts.ts")).readContexts(path)
    : { contexts: {} };
  const wanted = name ?? ("current" in contexts ? contexts.current : undefined);
  if (wanted === undefined) return {};
  const found = contexts.contexts[wanted];
  if (found === undefined) throw unknownContext(wanted, Object.keys(contexts.contexts));
  return {
    url: { value: found.url, origin, from: wanted },
    namespace: sourced(found.namespace, origin, wanted),
  };
}

export function unknownContext(name: string, known: readonly string[]): CliError {
  return new CliError("CONTEXT_NOT_FOUND", `there is no context \`${name}\``, {
    exitCode: exitCodes.notFound,
    hint:
      known.length === 0
        ? "`collector config set NAME --url URL` makes one"
        : `there are ${known.join(", ")}`,
  });
}

function sourced(
  value: string | undefined,
  origin: TargetOrigin,
  from?: string,
): Sourced | undefined {
  return value === undefined ? undefined : { value, origin, from };
}

function text(value: string | undefined): string | undefined {
  return value === "" ? undefined : value;
}
