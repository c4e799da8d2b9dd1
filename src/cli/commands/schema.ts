import type { JsonValue } from "@bufbuild/protobuf";
import type { Client } from "../../client/client.ts";
import { ClientError } from "../../client/client-error.ts";
import { RegisteredType_Kind } from "../../gen/collector/type_registry_pb.ts";
import { addSchema, type SchemaReport } from "../add-schema.ts";
import { compareSchema } from "../compare-schema.ts";
import type { DefineCommands } from "../define-commands.ts";
import { type DryRun, dryRunOption, tellDryRun } from "../dry-run.ts";
import { count, type Output } from "../output.ts";
import { allPages } from "../paging.ts";
import { removeSchema } from "../remove-schema.ts";
import type { SchemaChange } from "../schema-diff.ts";
import { findSchemaSources } from "../schema-sources.ts";
import { showSymbol } from "../show-schema.ts";

interface AddOptions {
  readonly import?: readonly string[];
  readonly dryRun?: boolean;
}

interface ListOptions {
  readonly services?: boolean;
  readonly messages?: boolean;
  readonly files?: boolean;
}

const kindNames: Readonly<Record<RegisteredType_Kind, string>> = {
  [RegisteredType_Kind.KIND_UNSPECIFIED]: "",
  [RegisteredType_Kind.MESSAGE]: "message",
  [RegisteredType_Kind.ENUM]: "enum",
  [RegisteredType_Kind.SERVICE]: "service",
};

/** `collector schema …` */
export const define: DefineCommands = (command, context) => {
  command
    .command("add <path...>")
    .description("register .proto files, folders of them, or descriptor sets (.binpb, .pb)")
    .option("-I, --import <folder>", "folder that imports start from; may be repeated", collect)
    .option("--dry-run", "check everything and register nothing")
    .action(async (paths: string[], options: AddOptions, self) => {
      const { output, connect, signal, namespace = "" } = context(self);
      const sources = await findSchemaSources(paths, options.import ?? []);
      await using client = await connect();
      const dryRun = options.dryRun === true;
      const isNew = !dryRun && (await isNewNamespace(client, signal));
      const report = await addSchema({ client, sources, namespace, dryRun, signal });
      // Namespaces are made by their first use, so a misspelt one has to show.
      if (isNew) output.note(`created namespace ${client.namespace}`);
      if (output.format === "name") for (const { name } of report.files) output.line(name);
      else output.result(sentenceOf(report, dryRun), toJson(report, dryRun));
    });

  command
    .command("check <path...>")
    .description(
      "compile files and say what registering them would change or break; sends nothing new",
    )
    .option("-I, --import <folder>", "folder that imports start from; may be repeated", collect)
    .action(async (paths: string[], options: Pick<AddOptions, "import">, self) => {
      const { output, connect, signal, namespace = "" } = context(self);
      const sources = await findSchemaSources(paths, options.import ?? []);
      await using client = await connect();
      const { changes } = await compareSchema({ client, sources, namespace, signal });
      printChanges(output, changes);
      const report = await addSchema({ client, sources, namespace, dryRun: true, signal });
      output.note(`ok: ${sentenceOf(report, false)}`);
    });

  command
    .command("diff <path...>")
    .description("show how files differ from what is registered under their names")
    .option("-I, --import <folder>", "folder that imports start from; may be repeated", collect)
    .action(async (paths: string[], options: Pick<AddOptions, "import">, self) => {
      const { output, connect, signal, namespace = "" } = context(self);
      const sources = await findSchemaSources(paths, options.import ?? []);
      await using client = await connect();
      const { files, changes } = await compareSchema({ client, sources, namespace, signal });
      printChanges(output, changes);
      for (const { name, isRegistered } of files) {
        if (!isRegistered) output.note(`${name} is not registered`);
      }
      if (changes.length === 0) output.note("no differences");
    });

  command
    .command("list [query]")
    .description("list types, services or files; a query is a part of the name")
    .option("--messages", "only messages")
    .option("--services", "only services")
    .option("--files", "files instead of types")
    .action(async (query: string | undefined, options: ListOptions, self) => {
      const { output, connect, signal, namespace = "" } = context(self);
      await using client = await connect();
      const { types } = client.services;
      if (options.files === true) {
        const files = await allPages(async (pageToken) => {
          const request = { namespace, query: query ?? "", pageToken };
          const page = await types.listFiles(request, { signal });
          return { items: page.files, nextPageToken: page.nextPageToken };
        });
        const rows = files.map((file) => ({
          name: file.fileDescriptor?.name ?? file.id,
          version: String(file.version),
          messages: file.messageNames.length,
          builtIn: file.builtIn,
        }));
        output.list(
          rows,
          [
            { header: "FILE", text: ({ name }) => name },
            { header: "VERSION", text: ({ version, builtIn }) => (builtIn ? "built in" : version) },
            { header: "MESSAGES", text: ({ messages }) => String(messages), right: true },
          ],
          (row) => row,
        );
        if (rows.length === 0) output.note("no files");
        return;
      }
      const kind =
        options.services === true
          ? RegisteredType_Kind.SERVICE
          : options.messages === true
            ? RegisteredType_Kind.MESSAGE
            : RegisteredType_Kind.KIND_UNSPECIFIED;
      const found = await allPages(async (pageToken) => {
        const request = { namespace, query: query ?? "", kind, pageToken };
        const page = await types.listTypes(request, { signal });
        return { items: page.types, nextPageToken: page.nextPageToken };
      });
      const rows = found.map(({ name, kind: number, fileName, version }) => ({
        name,
        kind: kindNames[number] ?? "",
        file: fileName,
        version: String(version),
      }));
      output.list(
        rows,
        [
          { header: "NAME", text: ({ name }) => name },
          { header: "KIND", text: ({ kind }) => kind },
          { header: "FILE", text: ({ file }) => file },
          { header: "VERSION", text: ({ version }) => version, right: true },
        ],
        (row) => row,
      );
      if (rows.length === 0) output.note("no types; add some with `collector schema add FILE`");
    });

  command
    .command("show <name>")
    .description("show a message, enum, service or file")
    .action(async (name: string, _options, self) => {
      const { output, connect, signal, namespace = "" } = context(self);
      await using client = await connect();
      await showSymbol({ client, name, namespace, output, signal });
    });

  command
    .command("rm <file>")
    .description("take back a file and its services, if no collection uses its types")
    .option(...dryRunOption)
    .action(async (name: string, { dryRun = false }: DryRun, self) => {
      const { output, connect, signal, namespace = "" } = context(self);
      await using client = await connect();
      const types = await removeSchema({ client, name, namespace, dryRun, signal });
      const what = `${name} with ${count(types.length, "type")}`;
      if (dryRun) tellDryRun(output, `remove ${what}`, { name, types: [...types] });
      else output.result(`removed ${what}`, { name, types: [...types] });
    });
};

/** Whether the namespace that the client is for is not known to the server yet. */
async function isNewNamespace(
  { namespace, services }: Client,
  signal: AbortSignal,
): Promise<boolean> {
  if (namespace === "") return false;
  try {
    await services.namespaces.getNamespace({ name: namespace }, { signal });
    return false;
  } catch (error) {
    if (error instanceof ClientError && error.status === "NotFound") return true;
    throw error;
  }
}

function printChanges(output: Output, changes: readonly SchemaChange[]): void {
  if (output.format === "table") {
    for (const { sign, name, what } of changes) {
      const line = `${sign} ${name}  ${what}`;
      output.line(
        sign === "-"
          ? output.style("red", line)
          : sign === "+"
            ? output.style("green", line)
            : line,
      );
    }
    return;
  }
  output.list(changes, [{ header: "NAME", text: ({ name }) => name }], (change) => ({ ...change }));
}

/** As in `+1 message, +1 service, version 1`. */
function sentenceOf(report: SchemaReport, dryRun: boolean): string {
  const { files, messages, enums, services } = report;
  const changed = files.filter(({ unchanged }) => !unchanged);
  const end = dryRun ? "; nothing registered, as this is a dry run" : "";
  const versions = new Set(changed.map(({ version }) => version));
  const [version] = versions;
  if (changed.length === 0) {
    const what = files.length === 1 ? `version ${files[0]?.version}` : count(files.length, "file");
    return `unchanged, ${what}${end}`;
  }
  const isMore = messages > 0 || enums > 0 || services > 0;
  const parts = [
    isMore ? "" : "changed",
    messages > 0 ? `+${count(messages, "message")}` : "",
    enums > 0 && messages === 0 ? `+${count(enums, "enum")}` : "",
    services > 0 ? `+${count(services, "service")}` : "",
    changed.length > 1 ? count(changed.length, "file") : "",
    versions.size === 1 ? `version ${version}` : "",
  ];
  return `${parts.filter((part) => part !== "").join(", ")}${end}`;
}

function toJson(report: SchemaReport, dryRun: boolean): JsonValue {
  const files = report.files.map(({ name, version, unchanged }) => ({
    name,
    version: String(version),
    unchanged,
  }));
  const { messages, enums, services } = report;
  return { messages, enums, services, files, dryRun };
}

function collect(value: string, previous: readonly string[] = []): readonly string[] {
  return [...previous, value];
}
