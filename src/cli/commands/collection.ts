import { Durability } from "../../gen/collector/collection_pb.ts";
import {
  addSearchSetup,
  expiryOf,
  type SearchSetup,
  textSearchOf,
  vectorFieldsOf,
} from "../collection-options.ts";
import { confirmOrRefuse } from "../confirm.ts";
import type { DefineCommands } from "../define-commands.ts";
import { usageError } from "../failure.ts";
import { parseLabels } from "../labels.ts";
import { type Column, count } from "../output.ts";
import { allPages } from "../paging.ts";
import { showCollection } from "../show-collection.ts";

interface CreateOptions extends SearchSetup {
  readonly type: string;
  readonly label?: readonly string[];
  readonly relaxed?: boolean;
}

interface ModifyOptions extends SearchSetup {
  readonly expiry: boolean;
  readonly wait: boolean;
}

/** `collector collection …` */
export const define: DefineCommands = (command, context, environment) => {
  const create = command
    .command("create <name>")
    .description("create a collection of a registered message type")
    .requiredOption("--type <message>", "message type, as in shop.v1.Product");
  addSearchSetup(create)
    .option("--label <key=value>", "label of the collection; may be repeated", collect)
    .option(
      "--relaxed",
      "answer writes before they are on disk: faster, and a power cut loses some",
    )
    .addHelpText(
      "after",
      "\nWithout --text all text is searched; --index is for filters and order.",
    )
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
            vectorFields: vectorFieldsOf(options),
            ...present("textSearch", textSearchOf(options)),
            ...present("expiry", expiryOf(options)),
          },
        },
        { signal },
      );
      const created = collection ?? { namespace, name, serverEndpoint };
      const json = collection === undefined ? { namespace, name } : await client.toJson(collection);
      output.result(`created ${created.namespace}/${created.name}`, json);
    });

  const modify = command
    .command("alter <name>")
    .alias("modify")
    .description("change what is indexed and searched, while the collection is in use");
  addSearchSetup(modify)
    .option("--no-expiry", "records stay")
    .option("--no-wait", "do not wait until the indexes are built")
    .action(async (collectionName: string, options: ModifyOptions, self) => {
      const { output, connect, signal, namespace = "" } = context(self);
      const textSearch = textSearchOf(options);
      const expiry = expiryOf(options);
      const updateMask = [
        ...(options.index === undefined ? [] : ["indexed_fields"]),
        ...(textSearch === undefined ? [] : ["text_search"]),
        ...(options.vector === undefined ? [] : ["vector_fields"]),
        ...(expiry === undefined && options.expiry ? [] : ["expiry"]),
      ];
      if (updateMask.length === 0) throw usageError("there is nothing to change");
      await using client = await connect();
      const { collection, operation } = await client.services.records.modify(
        {
          namespace,
          collectionName,
          updateMask,
          indexedFields: (options.index ?? []).filter((field) => field !== ""),
          vectorFields: vectorFieldsOf(options),
          returnImmediately: !options.wait,
          ...present("textSearch", textSearch),
          ...present("expiry", expiry),
        },
        { signal },
      );
      const json = collection === undefined ? {} : await client.toJson(collection);
      output.result(`modified ${collection?.namespace ?? ""}/${collectionName}`, json);
      if (operation?.done === false) {
        output.note(`the work goes on: collector ops show ${operation.name}`);
      }
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
      await showCollection({ client, name: collectionName, namespace, output, signal });
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

/** A field that is sent only if there is something to send. */
function present<K extends string, V>(key: K, value: V | undefined): { [key in K]?: V } {
  return value === undefined ? {} : ({ [key]: value } as { [key in K]?: V });
}

function collect(value: string, previous: readonly string[] = []): readonly string[] {
  return [...previous, value];
}
