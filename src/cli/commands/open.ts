import type { Client } from "../../client/client.ts";
import type { DefineCommands } from "../define-commands.ts";
import { exitCodes } from "../exit-codes.ts";
import { CliError } from "../failure.ts";
import { openInBrowser } from "../open-in-browser.ts";

interface OpenOptions {
  readonly browser: boolean;
}

/** `collector open`: where the server is, how it is, and its page in the browser. */
export const define: DefineCommands = (command, context, environment) => {
  command
    .option("--no-browser", "only print the addresses")
    .addHelpText(
      "after",
      `
Checks that the server answers and prints its addresses. From a terminal it also shows the server's page in
the browser, if there is one; BROWSER names another program to show it with.`,
    )
    .action(async ({ browser }: OpenOptions) => {
      const { output, connect, signal } = context(command);
      await using client = await connect();
      const meta = await client.services.records.meta({}, { signal });
      const health = await readHealth(client.url, signal);
      const pages = {
        page: `${client.url}/`,
        health: `${client.url}/healthz`,
        metrics: `${client.url}/metrics`,
        files: `${client.url}/files/`,
      };
      output.facts(
        [
          ["Server", `${client.url} (version ${meta.serverVersion}, ${health})`],
          ["Page", pages.page],
          ["Health", pages.health],
          ["Metrics", pages.metrics],
          ["Files", pages.files],
          ["gRPC", new URL(client.url).host],
          ["JSON", callWith(client)],
        ],
        {
          url: client.url,
          version: meta.serverVersion,
          collectorId: meta.collectorId,
          health,
          pages,
          grpc: new URL(client.url).host,
        },
      );
      const { stdout, env } = environment;
      if (!browser || output.format !== "table" || !stdout.isTTY) return;
      const problem = await openInBrowser(pages.page, env);
      output.note(problem === undefined ? "shown in the browser" : `${problem}: open it yourself`);
    });
};

/** A call that everybody can make. */
function callWith({ url }: Client): string {
  const path = "collector.CollectorRegistry/ListServices";
  return `curl -H 'content-type: application/json' -d '{}' ${url}/${path}`;
}

/** What the server says of itself, as in `ok` or `draining`. @throws {CliError} CONNECTION_FAILED */
async function readHealth(url: string, signal: AbortSignal): Promise<string> {
  try {
    const answer = await fetch(`${url}/healthz`, { signal });
    return (await answer.text()).trim();
  } catch (error) {
    signal.throwIfAborted();
    const why = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    const message = why instanceof Error ? why.message : String(why);
    throw new CliError("CONNECTION_FAILED", `cannot read ${url}/healthz: ${message}`, {
      cause: error,
      exitCode: exitCodes.unavailable,
    });
  }
}
