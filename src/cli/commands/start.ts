import { once } from "node:events";
import { availableParallelism } from "node:os";
import { setFlagsFromString } from "node:v8";
import type { Config } from "../../config.ts";
import type { Collector } from "../../server.ts";
import type { DefineCommands } from "../define-commands.ts";
import { exitCodes } from "../exit-codes.ts";
import { CliError, usageError } from "../failure.ts";
import { configFileIn } from "../target.ts";

interface StartOptions {
  readonly port?: number;
  readonly host?: string;
  readonly data?: string;
  readonly config?: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly insecure?: boolean;
  readonly advertise?: string;
  readonly peers?: readonly string[];
  readonly backupFolder?: string;
  readonly backupRoots?: readonly string[];
  readonly logLevel?: string;
}

/** `collector start`: the one command that starts a server, and runs until it is told to end. */
export const define: DefineCommands = (command, context, environment) => {
  command
    .option("--port <number>", "port to listen on; 0 picks a free one (default 50051)", parsePort)
    .option("--host <address>", "address to listen on (default 127.0.0.1)")
    .option("--data <folder>", "folder for everything that lasts (default ./collector-data)")
    .option(
      "--config <file>",
      "YAML or JSON file (COLLECTOR_CONFIG; default ./collector.yaml if there is one)",
    )
    .option("--tls-cert <file>", "certificate in PEM; needs --tls-key")
    .option("--tls-key <file>", "key in PEM; needs --tls-cert")
    .option("--insecure", "allow an address that other machines can reach")
    .option("--advertise <host:port>", "address that others are told to dial")
    .option(
      "--peers <host:port,…>",
      "servers that may be dialled; a host alone allows any port",
      list,
    )
    .option(
      "--shared-registrations <name,…>",
      "namespaces whose types and services are shared with linked collectors that share them too",
      list,
    )
    .option("--backup-folder <folder>", "folder of backups (default: backups in that of --data)")
    .option("--backup-roots <folder,…>", "further folders that backups may be in", list)
    .option("--log-level <level>", "trace, debug, info, warn, error, fatal or silent")
    .addHelpText(
      "after",
      `
Every option may be set as COLLECTOR_<NAME> too, or in the file of --config. A flag goes over the
environment, that over the file, and -n names the namespace of calls that name none.`,
    )
    .action(async (options: StartOptions) => {
      const { output, namespace } = context(command);
      // Else what calls allocate is soon allocated among the old objects, see decision 0024.
      setFlagsFromString("--no-allocation-site-pretenuring");
      // Else marking of the heap takes all cores for a while, see decision 0029.
      const markers = Math.max(1, Math.floor(availableParallelism() / 4));
      setFlagsFromString(`--concurrent-marking-max-worker-num=${markers}`);
      const { loadConfig } = await import("../../config.ts");
      const { config: file, ...flags } = options;
      const { env } = environment;
      const { config } = loadConfig({
        flags: { ...flags, namespace } as Partial<Config>,
        env,
        file: file ?? (env["COLLECTOR_CONFIG"] || configFileIn(process.cwd())),
      });
      await using collector = await startServer(config);
      if (output.format === "table") {
        // In one piece, so that who waits for the first line has the others too.
        output.line(readyBlock(collector, config, environment.env).join("\n"));
      } else {
        const { url, dataFolder, version, startedInMs } = collector;
        output.json({ url, dataFolder, version, startedInMs });
      }
      if (!environment.signal.aborted) await once(environment.signal, "abort");
      // Leaving the block drains: calls in flight end, everything acknowledged is on disk.
    });
};

async function startServer(config: Config): Promise<Collector> {
  const { createCollector } = await import("../../server.ts");
  try {
    return await createCollector(config);
  } catch (error) {
    throw explained(error);
  }
}

function explained(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const options = { cause: error, exitCode: exitCodes.conflict };
  if (error.name === "PortTakenError") {
    const [message = ""] = error.message.split(";");
    return new CliError("PORT_TAKEN", message, { ...options, hint: "`--port 0` picks a free one" });
  }
  const code = "code" in error ? error.code : undefined;
  if (code === "EACCES" || code === "EADDRNOTAVAIL") {
    return new CliError("ADDRESS_UNUSABLE", `cannot listen: ${error.message}`, { cause: error });
  }
  return error;
}

function readyBlock(
  { url, version, startedInMs }: Collector,
  config: Config,
  env: Readonly<Record<string, string | undefined>>,
): readonly string[] {
  const viaNpm = env["npm_lifecycle_event"] !== undefined;
  return [
    `Collector ${version} ready in ${(startedInMs / 1000).toFixed(1)}s`,
    `  gRPC · JSON   ${url}`,
    `  Data          ${config.data} (persistent)`,
    `Next: ${viaNpm ? "npm run tour" : "collector tour"}`,
  ];
}

/** Items with commas between them; the option may be repeated. */
function list(text: string, previous: readonly string[] = []): readonly string[] {
  const items = text.split(",").map((item) => item.trim());
  return [...previous, ...items.filter((item) => item !== "")];
}

function parsePort(text: string): number {
  if (/^\d{1,5}$/.test(text) && Number(text) <= 65_535) return Number(text);
  throw usageError(`--port takes a number from 0 to 65535, not \`${text}\``);
}
