import { execFileSync } from "node:child_process";
import { benchServer } from "./bench-server.ts";
import { buildCommand, commandOfSources } from "./built.ts";
import { type Benchmark, main, median } from "./harness.ts";

interface Command {
  readonly name: string;
  readonly args: readonly string[];
  readonly atMost?: number;
}

export const cliBenchmark: Benchmark = {
  name: "cli",
  about:
    "From the start of a command to its end, as built, in turns with a Node that does nothing.",
  async run(report, quick) {
    await using server = await benchServer();
    await server.client.createNotes("notes");
    const collector = quick ? commandOfSources : buildCommand();
    const commands: readonly Command[] = [
      { name: "node -e 0", args: ["-e", "0"] },
      { name: "collector --version", args: [collector, "--version"], atMost: 150 },
      { name: "collector --help", args: [collector, "--help"] },
      { name: "collector status", args: [collector, "status"], atMost: 300 },
      { name: "collector record list", args: [collector, "record", "list", "notes"] },
      {
        name: "completion of a collection",
        args: [collector, "completion", "--words", "record", "list", ""],
      },
    ];
    const env = { ...process.env, COLLECTOR_URL: server.url };
    const timesMs = commands.map((): number[] => []);
    // The first run of each fills Node's cache of compiled code, as the first one of a user does.
    for (const { args } of commands) run(args, env);
    for (let round = 0; round < (quick ? 1 : 40); round += 1) {
      for (const [index, { args }] of commands.entries()) {
        const startMs = performance.now();
        run(args, env);
        timesMs[index]?.push(performance.now() - startMs);
      }
    }
    for (const [index, { name, atMost }] of commands.entries()) {
      const times = timesMs[index] ?? [];
      report.add(name, median(times), "ms", atMost === undefined ? {} : { atMost });
      report.add(`${name}, slowest`, Math.max(...times), "ms");
    }
  },
};

function run(args: readonly string[], env: NodeJS.ProcessEnv): void {
  execFileSync(process.execPath, [...args], { env, stdio: "ignore" });
}

if (import.meta.main) await main(cliBenchmark);
