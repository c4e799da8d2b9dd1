import { collectionNameOf } from "../../client/collection-name.ts";
import { longCall } from "../../client/long-call.ts";
import { ReindexCollectionResponseSchema } from "../../gen/collector/collection_admin_pb.ts";
import { Durability } from "../../gen/collector/collection_pb.ts";
import { type Alteration, alterationsOf } from "../alter-collection.ts";
import { contents } from "../backup-table.ts";
import {
  addSearchSetup,
  expiryOf,
  type SearchSetup,
  textSearchOf,
  vectorFieldsOf,
} from "../collection-options.ts";
import type { DefineCommands } from "../define-commands.ts";
import { type DryRun, dryRunOption, tellDryRun } from "../dry-run.ts";
import { usageError } from "../failure.ts";
import { parseLabels } from "../labels.ts";
import { longWork } from "../long-work.ts";
import { type Column, count, type Output } from "../output.ts";
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
  readonly dryRun?: boolean;
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
    .action(async (given: string, options: CreateOptions, self) => {
      const { output, connect, signal, namespace: own = "" } = context(self);
      const { namespace, name } = collectionNameOf(given, own);
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
    .option("--dry-run", "say what would change, and change nothing")
    .addHelpText(
      "after",
      `
What is given stands for all of its kind: --index a,b drops every other index.

Examples:
  collector collection alter products --index price_cents,tags --dry-run
  collector collection alter products --text title:3,body --tokenizer english`,
    )
    .action(async (given: string, options: ModifyOptions, self) => {
      const { output, connect, confirm, signal, namespace: own = "" } = context(self);
      const { namespace, name: collectionName } = collectionNameOf(given, own);
      const textSearch = textSearchOf(options);
      const expiry = expiryOf(options);
      const updateMask = [
        ...(options.index === undefined ? [] : ["indexed_fields"]),
        ...(textSearch === undefined ? [] : ["text_search"]),
        ...(options.vector === undefined ? [] : ["vector_fields"]),
        ...(expiry === undefined && options.expiry ? [] : ["expiry"]),
      ];
      if (updateMask.length === 0) throw usageError("there is nothing to change");
      const request = {
        namespace,
        collectionName,
        updateMask,
        indexedFields: (options.index ?? []).filter((field) => field !== ""),
        vectorFields: vectorFieldsOf(options),
        returnImmediately: !options.wait,
        ...present("textSearch", textSearch),
        ...present("expiry", expiry),
      };
      await using client = await connect();
      const alterations = await alterationsOf(client, request, signal);
      if (options.dryRun === true) {
        printAlterations(output, alterations);
        return;
      }
      const lost = alterations.filter(({ loses }) => loses).map(({ what }) => what);
      if (lost.length > 0) await confirm(`drop ${lost.join(", ")} of ${collectionName}?`);
      const { collection, operation } = await client.services.records.modify(request, { signal });
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
    .action(async (given: string, _options, self) => {
      const { output, connect, signal, namespace: own = "" } = context(self);
      const { namespace, name } = collectionNameOf(given, own);
      await using client = await connect();
      await showCollection({ client, name, namespace, output, signal });
    });

  command
    .command("reindex <name>")
    .description("make all indexes anew from the records, while the collection is in use")
    .option("--no-wait", "do not wait until they are built")
    .addHelpText(
      "after",
      `
Mends an index that is damaged, and has text searched as quickly as in a new collection. What serves now
does so until the new indexes are complete. Ctrl-C cancels the work and leaves everything as it was.`,
    )
    .action(async (given: string, { wait }: { wait: boolean }, self) => {
      const { output, connect, signal, namespace: own = "" } = context(self);
      const { namespace, name } = collectionNameOf(given, own);
      await using client = await connect();
      const { admin, operations } = client.services;
      const request = { collection: { namespace, name }, returnImmediately: true };
      if (!wait) {
        const { operation } = await admin.reindexCollection(request, { signal });
        const began = operation?.name ?? "";
        output.result(`reindexing ${name} as ${began}`, { name, operation: began });
        return;
      }
      const answer = await longWork(`reindexing ${name}`, environment, (long) =>
        longCall(
          operations,
          ReindexCollectionResponseSchema,
          () => admin.reindexCollection(request),
          long,
        ),
      );
      const { collection, recordCount, skippedCount } = answer;
      const fullName = `${collection?.namespace ?? namespace}/${name}`;
      const json = { name: fullName, records: String(recordCount), skipped: String(skippedCount) };
      output.result(`reindexed ${fullName}: ${count(recordCount, "record")}`, json);
      if (skippedCount === 0n) return;
      output.note(`${count(skippedCount, "record")} could not be read by the type of today`);
    });

  command
    .command("rm <name>")
    .description("delete a collection and all its records")
    .option(...dryRunOption)
    .action(async (given: string, { dryRun: validateOnly = false }: DryRun, self) => {
      const { output, connect, confirm, signal, namespace: own = "" } = context(self);
      const { namespace, name } = collectionNameOf(given, own);
      await using client = await connect();
      const target = { namespace, collectionName: name };
      const { recordCount, fileCount, collectionDefinition } =
        await client.services.records.describe(target, { signal });
      const fullName = `${collectionDefinition?.namespace ?? ""}/${name}`;
      const what = `delete ${fullName} with ${contents({ recordCount, fileCount })}`;
      const json = { name: fullName, records: String(recordCount), files: String(fileCount) };
      const request = { collection: { namespace, name }, validateOnly };
      if (!validateOnly) await confirm(`${what}?`);
      await client.services.admin.deleteCollection(request, { signal });
      if (validateOnly) tellDryRun(output, what, json);
      else output.result(`deleted ${fullName}`, json);
    });
};

function printAlterations(output: Output, alterations: readonly Alteration[]): void {
  if (output.format === "table") {
    for (const { sign, what } of alterations) output.line(`${sign} ${what}`);
  } else {
    output.list(alterations, [{ header: "NAME", text: ({ what }) => what }], (alteration) => ({
      ...alteration,
    }));
  }
  output.note("nothing was changed, as this is a dry run");
}

/** A field that is sent only if there is something to send. */
function present<K extends string, V>(key: K, value: V | undefined): { [key in K]?: V } {
  return value === undefined ? {} : ({ [key]: value } as { [key in K]?: V });
}

function collect(value: string, previous: readonly string[] = []): readonly string[] {
  return [...previous, value];
}
