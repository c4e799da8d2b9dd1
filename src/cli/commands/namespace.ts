import { CompatibilityMode } from "../../gen/collector/namespaces_pb.ts";
import type { DefineCommands } from "../define-commands.ts";
import { type DryRun, dryRunOption, tellDryRun } from "../dry-run.ts";
import type { Column } from "../output.ts";
import { allPages } from "../paging.ts";

type NamespaceRow = { readonly name: string; readonly mode: string; readonly disabled: string };

const columns: readonly Column<NamespaceRow>[] = [
  { header: "NAME", text: ({ name }) => name },
  { header: "COMPATIBILITY", text: ({ mode }) => mode },
  { header: "DISABLED SERVICES", text: ({ disabled }) => disabled },
];

/** `collector namespace …` */
export const define: DefineCommands = (command, context) => {
  command
    .command("list")
    .description("list the namespaces")
    .action(async (_options, self) => {
      const { output, connect, signal } = context(self);
      await using client = await connect();
      const namespaces = await allPages(async (pageToken) => {
        const page = await client.services.namespaces.listNamespaces({ pageToken }, { signal });
        return { items: page.namespaces, nextPageToken: page.nextPageToken };
      });
      const rows = namespaces.map(({ name, compatibilityMode, disabledServices }) => ({
        name,
        mode: compatibilityMode === CompatibilityMode.NONE ? "none" : "wire_json",
        disabled: disabledServices.join(", "),
      }));
      output.list(rows, columns, ({ name, mode, disabled }) => ({
        name,
        compatibilityMode: mode,
        disabledServices: disabled === "" ? [] : disabled.split(", "),
      }));
    });

  command
    .command("create <name>")
    .description("create a namespace")
    .action(async (name: string, _options, self) => {
      const { output, connect, signal } = context(self);
      await using client = await connect();
      await client.services.namespaces.createNamespace({ namespace: { name } }, { signal });
      output.result(`created ${name}`, { name });
    });

  command
    .command("rm <name>")
    .description("delete a namespace, which has to be empty")
    .option(...dryRunOption)
    .action(async (name: string, { dryRun: validateOnly = false }: DryRun, self) => {
      const { output, connect, signal } = context(self);
      await using client = await connect();
      await client.services.namespaces.deleteNamespace({ name, validateOnly }, { signal });
      if (validateOnly) tellDryRun(output, `delete ${name}`, { name });
      else output.result(`deleted ${name}`, { name });
    });
};
