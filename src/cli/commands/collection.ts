import { Durability } from "../../gen/collector/collection_pb.ts";
import { confirmOrRefuse } from "../confirm.ts";
import type { DefineCommands } from "../define-commands.ts";
import { parseLabels } from "../labels.ts";
import { type Column, count, formatBytes } from "../output.ts";
import { allPages } from "../paging.ts";

interface CreateOptions {
  readonly type: string;
  readonly index?: readonly string[];
  readonly label?: readonly string[];
  readonly relaxed?: boolean;
}

/** `collector collection …` */
export const define: DefineCommands = (command, context, environment) => {
  command
    .command("create <name>")
    .description("create a collection of a registered message type")
    .requiredOption("--type <message>", "message type, as in shop.v1.Product")
    .option("--index <fields>", "fields to index, as in price_cents,tags", collectList)
    .option("--label <key=value>", "label of the collection; may be repeated", collect)
    .option(
      "--relaxed",
      "answer writes before they are on disk: faster, and a power cut loses some",
    )
    .addHelpText("after", "\nAll text is searchable at once; --index is for filters and order.")
    .action(async (name: string, options: CreateOptions, self) => {
      const { output, connect, signal, namespace = "" } = context(self);
      await using client = await connect();
      const { collection, serverEndpoint } = await client.services.repo.createCollection(
        {
          collection: {
            namespace,
            name,
            messageType: { messageName: options.type },
            indexedFields: [...(options.index ?? [])],
            durability: options.relaxed === true ? Durability.RELAXED : Durability.UNSPECIFIED,
            metadata: { labels: parseLabels(options.label ?? []) },
          },
        },
        { signal },
      );
      const created = collection ?? { namespace, name, serverEndpoint };
      const json = collection === undefined ? { namespace, name } : await client.toJson(collection);
      output.result(`created ${created.namespace}/${created.name}`, json);
    });

  command
    .command("list")
    .description("list the collections of all namespaces, or of the one that -n names")
    .option("--type <message>", "only of this message type")
    .option("--label <key=value>", "only with this label; may be repeated", collect)
    .option("--all", "also those of namespace system, which the server keeps for itself")
    .action(async (options: { type?: string; label?: string[]; all?: boolean }, self) => {
      const { output, connect, signal, namespace = "" } = context(self);
      await using client = await connect();
      const found = await allPages(async (pageToken) => {
        const page = await client.services.repo.discover(
          {
            namespace,
            pageToken,
            labelFilter: parseLabels(options.label ?? []),
            ...(options.type === undefined
              ? {}
              : { messageTypeFilter: { messageName: options.type } }),
          },
          { signal },
        );
        return { items: page.collections, nextPageToken: page.nextPageToken };
      });
      const shown = found.filter(
        (collection) =>
          options.all === true || namespace !== "" || collection.namespace !== "system",
      );
      const rows = await Promise.all(
        shown.map(async (collection) => ({ collection, json: await client.toJson(collection) })),
      );
      const columns: readonly Column<(typeof rows)[number]>[] = [
        { header: "NAMESPACE", text: ({ collection }) => collection.namespace },
        { header: "NAME", text: ({ collection }) => collection.name },
        { header: "TYPE", text: ({ collection }) => collection.messageType?.messageName ?? "" },
        { header: "INDEXED", text: ({ collection }) => collection.indexedFields.join(", ") },
      ];
      output.list(rows, columns, ({ json }) => json);
      if (rows.length === 0) output.note("no collections");
    });

  command
    .command("show <name>")
    .description("show a collection: definition, size, fields")
    .action(async (collectionName: string, _options, self) => {
      const { output, connect, signal, namespace = "" } = context(self);
      await using client = await connect();
      const described = await client.services.records.describe(
        { namespace, collectionName },
        { signal },
      );
      const { collectionDefinition: definition, recordCount, storageSizeBytes } = described;
      if (output.format !== "table") {
        output.json(await client.toJson(described));
        return;
      }
      output.facts(
        [
          ["Collection", `${definition?.namespace ?? ""}/${definition?.name ?? collectionName}`],
          [
            "Type",
            `${definition?.messageType?.messageName ?? ""} (version ${described.typeVersion})`,
          ],
          ["Records", recordCount.toLocaleString("en")],
          ["Size", formatBytes(storageSizeBytes)],
          ["Revision", String(described.revision)],
          ["Durability", definition?.durability === Durability.RELAXED ? "relaxed" : "full"],
        ],
        {},
      );
      output.line("");
      output.list(
        described.fields,
        [
          { header: "FIELD", text: ({ path }) => path },
          { header: "TYPE", text: (field) => `${field.repeated ? "repeated " : ""}${field.type}` },
          { header: "INDEXED", text: ({ indexed }) => (indexed ? "yes" : "") },
          { header: "SEARCHED", text: ({ fullText }) => (fullText ? "yes" : "") },
        ],
        ({ path }) => path,
      );
    });

  command
    .command("rm <name>")
    .description("delete a collection and all its records")
    .option("--yes", "do not ask")
    .action(async (name: string, options: { yes?: boolean }, self) => {
      const { output, connect, signal, namespace = "" } = context(self);
      await using client = await connect();
      const target = { namespace, collectionName: name };
      const { recordCount, collectionDefinition } = await client.services.records.describe(target, {
        signal,
      });
      const fullName = `${collectionDefinition?.namespace ?? ""}/${name}`;
      const question = `delete ${fullName} with ${count(recordCount, "record")}?`;
      await confirmOrRefuse(question, options.yes === true, environment);
      await client.services.admin.deleteCollection({ collection: { namespace, name } }, { signal });
      output.result(`deleted ${fullName}`, { name: fullName, records: String(recordCount) });
    });
};

function collectList(value: string, previous: readonly string[] = []): readonly string[] {
  return [...previous, ...value.split(",").map((item) => item.trim())];
}

function collect(value: string, previous: readonly string[] = []): readonly string[] {
  return [...previous, value];
}
