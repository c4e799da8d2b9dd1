import type { DefineCommands } from "../define-commands.ts";
import type { Column } from "../output.ts";
import { allPages } from "../paging.ts";

/** `collector ops …` */
export const define: DefineCommands = (command, context) => {
  command
    .command("list")
    .description("list operations, running ones and those that ended")
    .option("--kind <kind>", "only of this kind")
    .action(async ({ kind = "" }: { kind?: string }, self) => {
      const { output, connect, signal, namespace = "" } = context(self);
      await using client = await connect();
      const operations = await allPages(async (pageToken) => {
        const request = { namespace, kind, pageToken };
        const page = await client.services.operations.listOperations(request, { signal });
        return { items: page.operations, nextPageToken: page.nextPageToken };
      });
      const rows = await Promise.all(
        operations.map(async (operation) => ({ operation, json: await client.toJson(operation) })),
      );
      const columns: readonly Column<(typeof rows)[number]>[] = [
        { header: "NAME", text: ({ operation }) => operation.name },
        { header: "KIND", text: ({ operation }) => operation.kind },
        { header: "SUBJECT", text: ({ operation }) => operation.subject },
        { header: "STATE", text: ({ operation }) => stateOf(operation) },
        { header: "PROGRESS", text: ({ operation }) => progressOf(operation), right: true },
      ];
      output.list(rows, columns, ({ json }) => json);
      if (rows.length === 0) output.note("no operations");
    });

  command
    .command("show <name>")
    .description("show one operation")
    .action(async (name: string, _options, self) => {
      const { output, connect, signal } = context(self);
      await using client = await connect();
      const operation = await client.services.operations.getOperation({ name }, { signal });
      output.json(await client.toJson(operation));
    });

  command
    .command("cancel <name>")
    .description("ask an operation to end")
    .action(async (name: string, _options, self) => {
      const { output, connect, signal } = context(self);
      await using client = await connect();
      const operation = await client.services.operations.cancelOperation({ name }, { signal });
      output.result(`${name}: ${stateOf(operation)}`, await client.toJson(operation));
    });
};

interface OperationState {
  readonly done: boolean;
  readonly cancelRequested: boolean;
  readonly phase: string;
  readonly progressDone: bigint;
  readonly progressTotal: bigint;
  readonly result: { readonly case?: string | undefined };
}

function stateOf({ done, cancelRequested, phase, result }: OperationState): string {
  if (done) return result.case === "error" ? "failed" : "done";
  if (cancelRequested) return "being cancelled";
  return phase === "" ? "running" : phase;
}

function progressOf({ progressDone, progressTotal }: OperationState): string {
  if (progressTotal === 0n) return "";
  return `${progressDone.toLocaleString("en")} of ${progressTotal.toLocaleString("en")}`;
}
