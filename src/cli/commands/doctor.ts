import { loadConfig } from "../../config.ts";
import type { CommandContext } from "../context.ts";
import type { DefineCommands } from "../define-commands.ts";
import { type Finding, failed, fine, warning } from "../doctor/check.ts";
import {
  checkData,
  checkOpenFiles,
  checkPeers,
  checkPort,
  checkVersions,
} from "../doctor/check-machine.ts";
import { CliError } from "../failure.ts";
import type { Output } from "../output.ts";
import { configFileIn } from "../target.ts";
import { packageVersion } from "../version.ts";

/** `collector doctor`: looks at what usually goes wrong here, and at the server if one runs. */
export const define: DefineCommands = (command, context, environment) => {
  command
    .option("--config <file>", "the file of the server's settings (COLLECTOR_CONFIG)")
    .option("--data <folder>", "folder of the server's data")
    .option("--port <number>", "port of the server", Number)
    .action(async (options: { config?: string; data?: string; port?: number }) => {
      const { env } = environment;
      const { config: file, ...flags } = options;
      const { config } = loadConfig({
        flags,
        env,
        file: file ?? (env["COLLECTOR_CONFIG"] || configFileIn(process.cwd())),
      });
      const given = context(command);
      const { finding, isLocal } = await checkServer(given);
      const findings = [
        ...checkVersions(),
        await checkPort(config, isLocal),
        ...(await checkData(config)),
        checkOpenFiles(),
        finding,
        ...(await checkPeers(config)),
      ];
      print(given.output, findings);
      const bad = findings.filter(({ state }) => state === "failed");
      if (bad.length > 0) {
        throw new CliError("UNWELL", `${bad.map(({ name }) => name).join(", ")}: see above`);
      }
    });
};

/** `isLocal`: it answers where a server that is started here would listen. */
async function checkServer(
  context: CommandContext,
): Promise<{ readonly finding: Finding; readonly isLocal: boolean }> {
  const { url } = await context.target();
  await using client = await context.connect();
  const name = "Server";
  try {
    const meta = await client.services.records.meta(
      {},
      { timeoutMs: 3000, signal: context.signal },
    );
    const isLocal = url.origin === "default" || url.origin === "file";
    const detail = `${client.url}, version ${meta.serverVersion}, id ${meta.collectorId}`;
    if (meta.serverVersion === packageVersion()) return { finding: fine(name, detail), isLocal };
    const mend = `this command is version ${packageVersion()}: use the same version on both sides`;
    return { finding: warning(name, detail, mend), isLocal };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    // That none runs is no fault unless somebody has named one.
    const finding =
      url.origin === "default" || url.origin === "file"
        ? fine(name, `none runs at ${client.url}; start one with \`collector start\``)
        : failed(name, why, "start it, or name another with --url");
    return { finding, isLocal: false };
  }
}

function print(output: Output, findings: readonly Finding[]): void {
  if (output.format !== "table") {
    output.list(findings, [{ header: "NAME", text: ({ name }) => name }], (finding) => ({
      ...finding,
    }));
    return;
  }
  const signs = { ok: "ok", warning: "warn", failed: "FAIL" } as const;
  const width = Math.max(...findings.map(({ name }) => name.length));
  for (const { name, state, detail, mend } of findings) {
    const sign = signs[state].padEnd(4);
    const styled = state === "ok" ? output.style("green", sign) : output.style("red", sign);
    output.line(`${styled}  ${name.padEnd(width)}  ${detail}`);
    if (mend !== "") output.line(`${" ".repeat(width + 8)}${mend}`);
  }
}
