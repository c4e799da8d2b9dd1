import type { Command } from "commander";
import type { Client } from "../client/client.ts";
import { usageError } from "./failure.ts";
import { Output, type OutputFormat, outputFormats } from "./output.ts";
import type { StdoutStream } from "./stdout.ts";
import { findTarget, type Target } from "./target.ts";

/** What every command has at hand. */
export interface CommandContext {
  readonly output: Output;
  /** Fires at Ctrl-C, SIGTERM, and when the terminal is closed. */
  readonly signal: AbortSignal;
  /** As given by -n; undefined leaves it to the environment, then to the server. */
  readonly namespace: string | undefined;
  /** Of --timeout. */
  readonly timeoutMs: number | undefined;
  /** Which server the options, the environment, `./collector.yaml` and the contexts name. */
  readonly target: () => Promise<Target>;
  /** Opens a client of the server that the options or the environment name. */
  readonly connect: () => Promise<Client>;
  /**
   * Goes on only if the question, as in `delete default/products?`, is answered with yes.
   *
   * @throws {CliError} USAGE if nobody can be asked, CANCELLED
   */
  readonly confirm: (question: string) => Promise<void>;
}

/** What the process lends to the command line. */
export interface CliEnvironment {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdin: NodeJS.ReadStream;
  readonly stdout: StdoutStream;
  readonly stderr: NodeJS.WriteStream;
  /** Fires at Ctrl-C, SIGTERM and SIGHUP, and with a CliError if stdout cannot be written. */
  readonly signal: AbortSignal;
  /** From now on a reader of stdout that goes before the end is a failure. */
  readonly needWholeOutput: () => void;
  /** Resolves when all that was written to stdout has arrived. @throws {CliError} */
  readonly outputWritten: () => Promise<void>;
}

interface GlobalOptions {
  readonly url?: string;
  readonly context?: string;
  readonly namespace?: string;
  readonly output?: string;
  readonly color: boolean;
  readonly timeout?: string;
  readonly yes?: boolean;
  readonly input: boolean;
}

/** The options that every command takes, wherever they stand. */
export function addGlobalOptions(program: Command): void {
  program
    .option("--url <url>", "server to talk to (COLLECTOR_URL; default http://127.0.0.1:50051)")
    .option("--context <name>", "server of `collector config set` to talk to (COLLECTOR_CONTEXT)")
    .option("-n, --namespace <name>", "namespace to work in (COLLECTOR_NAMESPACE)")
    .option("-o, --output <format>", "table, json, jsonl, yaml or name", "table")
    .option("--timeout <time>", "how long a call may take, as in 500ms, 5s or 2m")
    .option("--no-color", "print without colours (NO_COLOR)")
    .option("--yes", "do not ask before something is destroyed")
    .option("--no-input", "never ask: fail where --yes would be needed");
}

/** @throws {CliError} USAGE for a format or time that is none */
export function createContext(command: Command, environment: CliEnvironment): CommandContext {
  const options = command.optsWithGlobals<GlobalOptions>();
  const timeoutMs = options.timeout === undefined ? undefined : parseTime(options.timeout);
  const { env } = environment;
  const target = (): Promise<Target> => findTarget(options, env, process.cwd());
  return {
    output: createOutput(environment, options.output, options.color),
    signal: environment.signal,
    namespace: options.namespace,
    timeoutMs,
    target,
    async confirm(question) {
      const { confirmOrRefuse } = await import("./confirm.ts");
      const asking = { yes: options.yes === true, input: options.input };
      await confirmOrRefuse(question, asking, environment);
    },
    async connect() {
      const [{ connect }, found] = await Promise.all([import("../client/client.ts"), target()]);
      const url = found.url.value;
      const namespace = found.namespace.value;
      try {
        return await connect({ url, namespace, timeoutMs, env, retries: 0 });
      } catch (error) {
        // Nothing is sent yet: only the options can be at fault.
        throw error instanceof Error ? usageError(error.message) : error;
      }
    },
  };
}

/** @throws {CliError} USAGE for a format that is none */
export function createOutput(
  environment: CliEnvironment,
  format: string | undefined,
  color: boolean,
): Output {
  const { env, stdout, stderr } = environment;
  const noColor = (env["NO_COLOR"] ?? "") !== "" || env["TERM"] === "dumb";
  return new Output({
    format: parseFormat(format ?? "table"),
    color: color && !noColor && stdout.isTTY === true && stderr.isTTY,
    stdout,
    stderr,
  });
}

function parseFormat(text: string): OutputFormat {
  const format = outputFormats.find((candidate) => candidate === text);
  if (format !== undefined) return format;
  throw usageError(`-o takes ${outputFormats.join(", ")}, not \`${text}\``);
}

const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000 };

function parseTime(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m)?$/.exec(text);
  const ms = Number(match?.[1]) * (unitMs[match?.[2] ?? "s"] ?? 1);
  if (ms > 0) return ms;
  throw usageError(`--timeout takes a time such as 500ms, 5s or 2m, not \`${text}\``);
}
