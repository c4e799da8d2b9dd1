import { Command, CommanderError } from "commander";
import {
  addGlobalOptions,
  type CliEnvironment,
  type CommandContext,
  createContext,
  createOutput,
} from "./context.ts";
import type { DefineCommands } from "./define-commands.ts";
import { type ExitCode, exitCodes } from "./exit-codes.ts";
import { usageError } from "./failure.ts";
import { packageVersion } from "./version.ts";

interface CommandGroup {
  readonly name: string;
  readonly summary: string;
  readonly load: () => Promise<{ readonly define: DefineCommands }>;
}

/** A group's file is loaded only if its name is among the arguments. */
const groups: readonly CommandGroup[] = [
  { name: "start", summary: "start a server", load: () => import("./commands/start.ts") },
  { name: "tour", summary: "see it work on real data", load: () => import("./commands/tour.ts") },
  { name: "status", summary: "ask a server how it is", load: () => import("./commands/status.ts") },
  {
    name: "open",
    summary: "print a server's addresses, and show its page in the browser",
    load: () => import("./commands/open.ts"),
  },
  {
    name: "schema",
    summary: "register and look up types and services",
    load: () => import("./commands/schema.ts"),
  },
  {
    name: "collection",
    summary: "create, change, reindex and delete collections",
    load: () => import("./commands/collection.ts"),
  },
  {
    name: "record",
    summary: "write, read and search records",
    load: () => import("./commands/record.ts"),
  },
  {
    name: "file",
    summary: "attach files to records and collections",
    load: () => import("./commands/file.ts"),
  },
  {
    name: "backup",
    summary: "back up, verify and restore collections",
    load: () => import("./commands/backup.ts"),
  },
  {
    name: "clone",
    summary: "copy a collection to another name or server",
    load: () => import("./commands/clone.ts"),
  },
  {
    name: "fetch",
    summary: "copy a collection from another server",
    load: () => import("./commands/fetch.ts"),
  },
  { name: "call", summary: "call any method with JSON", load: () => import("./commands/call.ts") },
  {
    name: "namespace",
    summary: "create, list and delete namespaces",
    load: () => import("./commands/namespace.ts"),
  },
  {
    name: "service",
    summary: "list services, and say what runs them",
    load: () => import("./commands/service.ts"),
  },
  {
    name: "mesh",
    summary: "link this server to other collectors",
    load: () => import("./commands/mesh.ts"),
  },
  {
    name: "config",
    summary: "show settings; give servers names",
    load: () => import("./commands/config.ts"),
  },
  { name: "ops", summary: "follow long operations", load: () => import("./commands/ops.ts") },
  {
    name: "doctor",
    summary: "check what usually goes wrong, and say how to mend it",
    load: () => import("./commands/doctor.ts"),
  },
  {
    name: "describe",
    summary: "say what a collection, a type, a service or a method is",
    load: () => import("./commands/describe.ts"),
  },
  {
    name: "completion",
    summary: "print what makes a shell complete these commands",
    load: () => import("./commands/completion.ts"),
  },
  {
    name: "commands",
    summary: "list all commands with their options",
    load: () => import("./commands/commands.ts"),
  },
];

/** Commands that are about all others. */
const aboutAll: ReadonlySet<string> = new Set(["commands", "completion"]);

/** Runs one command line. Never throws: what goes wrong is told on stderr. */
export async function runCli(environment: CliEnvironment): Promise<ExitCode> {
  try {
    const exitCode = await runCommand(environment);
    await environment.outputWritten();
    return exitCode;
  } catch (error) {
    return await reportFailure(error, environment);
  }
}

async function runCommand(environment: CliEnvironment): Promise<ExitCode> {
  const { argv } = environment;
  try {
    const program = await buildProgram(environment);
    const [name, marker, ...words] = argv;
    if (name === "completion" && marker === "--words") {
      // Words of a line that is not whole yet: nothing that could be parsed.
      const { completeLine } = await import("./completion/complete-line.ts");
      await completeLine(program, words, environment);
      return exitCodes.ok;
    }
    await program.parseAsync([...argv], { from: "user" });
    return exitCodes.ok;
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return exitCodes.ok;
    // Called without a command: the help has been printed.
    if (error.code === "commander.help") return exitCodes.usage;
    throw fromCommander(error);
  }
}

async function buildProgram(environment: CliEnvironment): Promise<Command> {
  const { argv, stdout, stderr } = environment;
  const program = new Command("collector")
    .description("A typed data and RPC backbone in one process on one port.")
    .version(packageVersion(), "-V, --version")
    .showSuggestionAfterError()
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({
      writeOut: (text) => stdout.write(text),
      writeErr: (text) => stderr.write(text),
      // What is wrong with the arguments is told where all failures are.
      outputError: () => undefined,
    })
    .exitOverride();
  addGlobalOptions(program);
  const context = (command: Command): CommandContext => createContext(command, environment);
  // A line that is being completed names what it needs.
  const wantsAll = argv[1] !== "--words" && argv.some((argument) => aboutAll.has(argument));
  for (const { name, summary, load } of groups) {
    const command = program.command(name).description(summary);
    if (!wantsAll && !argv.includes(name)) continue;
    const { define } = await load();
    define(command, context, environment);
  }
  program.addHelpText("after", "\nFirst steps: collector start, then collector tour");
  return program;
}

async function reportFailure(error: unknown, environment: CliEnvironment): Promise<ExitCode> {
  // With the client's errors comes most of the client, which a command that succeeds may not need.
  const { toFailure } = await import("./to-failure.ts");
  const { argv, signal } = environment;
  const failure = toFailure(signal.aborted ? signal.reason : error);
  // Read by hand: the options may be what is wrong.
  const formats = argv.map((argument, index) => {
    const isApart = argument === "-o" || argument === "--output";
    return isApart ? argv[index + 1] : /^(?:-o|--output=)(.+)$/.exec(argument)?.[1];
  });
  // Of several the last one counts, as everywhere.
  const last = formats.findLast((text) => text !== undefined);
  const format = last === "json" || last === "jsonl" || last === "yaml" ? last : "table";
  const color = !argv.includes("--no-color");
  createOutput(environment, format, color).failure(failure);
  return failure.exitCode;
}

/** Commander says `error: unknown option '--prot'` and, on the next line, `(Did you mean --port?)`. */
function fromCommander(error: CommanderError): Error {
  const [message = "", ...rest] = error.message.replace(/^error: /, "").split("\n");
  const hint = rest.join(" ").replace(/^\(|\)$/g, "");
  return usageError(message, hint === "" ? "`collector --help` shows what there is" : hint);
}
