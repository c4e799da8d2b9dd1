import type { DefineCommands } from "../define-commands.ts";
import { type DryRun, dryRunOption, tellDryRun } from "../dry-run.ts";
import { exitCodes } from "../exit-codes.ts";
import { defineExport } from "../export-records.ts";
import { CliError, usageError } from "../failure.ts";
import { addFindOptions, type FindOptions, limitDefault } from "../find-options.ts";
import { defineImport } from "../import-records.ts";
import { readJsonFile, readJsonInput } from "../json-input.ts";
import { count } from "../output.ts";
import { definePatch } from "../patch-record.ts";
import { type PutOptions, putRecords } from "../put.ts";
import { notePlan } from "../query-plan.ts";
import { defineSearch } from "../record-search.ts";
import { JsonRecords, printRecords, type ShownRecord } from "../records.ts";
import { defineWatch } from "../watch-records.ts";

const pageSize = 500;

interface ReadOptions {
  readonly meta?: boolean;
}

/** `collector record …` */
export const define: DefineCommands = (command, context, environment) => {
  command
    .command("put <collection>")
    .description("write records from JSON: replace those whose id is there, create the others")
    .option("-d, --data <json>", "JSON, @FILE, or - for stdin; an object, an array, or one a line")
    .option("-f, --file <file>", "the same as -d @FILE")
    .option("--id <id>", "id of the record, for one record")
    .option("--id-field <field>", "field that holds the id, as in sku or address.code")
    .option("--label <key=value>", "label of the records; may be repeated", collect)
    .option("--create", "fail if a record with the id is there already")
    .addHelpText(
      "after",
      `
Without --id and --id-field every record gets a new id.

Examples:
  collector record put products --id esp-1 -d '{"title": "Espresso machine"}'
  collector record put products --id-field sku -f items.jsonl
  cat items.jsonl | collector record put products -d -`,
    )
    .action(async (collection: string, options: PutOptions & DataOptions, self) => {
      const { output, connect, signal, namespace = "" } = context(self);
      const documents = dataOf(options, environment.stdin);
      await using client = await connect();
      const records = new JsonRecords(client, namespace, collection);
      const ids = await putRecords({ client, records, documents, options, signal });
      if (ids.length === 0) throw usageError("there is no JSON in the input");
      output.result(
        ids.length === 1 ? `put ${ids[0]}` : `put ${count(ids.length, "record")}`,
        ids.length === 1 ? { put: 1, id: ids[0] ?? "" } : { put: ids.length, ids },
      );
    });

  command
    .command("get <collection> <id...>")
    .description("print records as JSON")
    .option("--meta", "with id, version, times and labels")
    .action(async (collection: string, ids: string[], options: ReadOptions, self) => {
      const { output, connect, signal, namespace = "" } = context(self);
      await using client = await connect();
      const records = new JsonRecords(client, namespace, collection);
      const full = options.meta === true;
      const shown: ShownRecord[] = [];
      const missing: string[] = [];
      if (ids.length === 1) {
        const request = { ...records.target, id: ids[0] ?? "" };
        const { item, meta } = await client.services.records.get(request, { signal });
        shown.push(await records.show(item, meta));
      } else {
        const found = await client.services.records.get({ ...records.target, ids }, { signal });
        for (const { id, found: isThere, item, meta } of found.records) {
          if (isThere) shown.push(await records.show(item, meta));
          else missing.push(id);
        }
      }
      const documents = shown.map((record) => (full ? record.full : record.item));
      if (output.format === "name") for (const { id } of shown) output.line(id);
      else if (output.format === "json" && ids.length > 1) output.json(documents);
      else for (const document of documents) output.json(document);
      if (missing.length > 0) {
        const message = `no record ${missing.join(", ")} in ${collection}`;
        throw new CliError("RECORD_NOT_FOUND", message, { exitCode: exitCodes.notFound });
      }
    });

  definePatch(command, context, environment);

  const list = command
    .command("list <collection>")
    .description("list records in the order they were created, or another; --limit 0 lists all");
  addFindOptions(list).action(async (collection: string, options: FindOptions, self) => {
    const { output, connect, signal, namespace = "" } = context(self);
    let left = options.limit === 0 ? Number.POSITIVE_INFINITY : (options.limit ?? limitDefault);
    await using client = await connect();
    const records = new JsonRecords(client, namespace, collection);
    const all: ShownRecord[] = [];
    let listed = 0;
    let pageToken = "";
    do {
      const request = {
        ...records.target,
        pageSize: Math.min(pageSize, left),
        pageToken,
        orderBy: options.orderBy ?? "",
        where: options.where ?? "",
        explain: options.explain === true && pageToken === "",
      };
      const page = await client.services.records.list(request, { signal });
      const shown: ShownRecord[] = [];
      for (const [index, item] of page.items.entries()) {
        shown.push(await records.show(item, page.metas[index]));
      }
      notePlan(output, page.plan);
      listed += shown.length;
      left -= shown.length;
      // Lines can be written as they come; the others are one document.
      if (output.format === "jsonl") printRecords(output, shown, options.meta === true);
      else all.push(...shown);
      pageToken = page.nextPageToken;
    } while (pageToken !== "" && left > 0);
    if (output.format !== "jsonl") printRecords(output, all, options.meta === true);
    if (listed === 0) output.note("no records");
    if (pageToken !== "") output.note(`there are more than these ${listed}; --limit 0 lists all`);
  });

  defineSearch(command, context, environment);
  defineExport(command, context, environment);
  defineImport(command, context, environment);
  defineWatch(command, context, environment);

  command
    .command("rm <collection> <id...>")
    .description("delete records, all of them or none")
    .option("--allow-missing", "pass over ids that are not there")
    .option(...dryRunOption)
    .action(async (collection: string, ids: string[], options: RemoveOptions, self) => {
      const { output, connect, signal, namespace = "" } = context(self);
      const { allowMissing = false, dryRun: validateOnly = false } = options;
      await using client = await connect();
      const { target } = new JsonRecords(client, namespace, collection);
      if (ids.length === 1) {
        const request = { ...target, id: ids[0] ?? "", allowMissing, validateOnly };
        await client.services.records.delete(request, { signal });
      } else {
        const operations = ids.map((id) => ({
          operation: { case: "delete" as const, value: { ...target, id, allowMissing } },
        }));
        await client.services.records.batch({ ...target, operations, validateOnly }, { signal });
      }
      const what = ids.length === 1 ? ids[0] : count(ids.length, "record");
      if (validateOnly) tellDryRun(output, `delete ${what}`, { ids });
      else output.result(`deleted ${what}`, { deleted: ids.length, ids });
    });
};

interface RemoveOptions extends DryRun {
  readonly allowMissing?: boolean;
}

interface DataOptions {
  readonly data?: string;
  readonly file?: string;
}

function dataOf(
  { data, file }: DataOptions,
  stdin: NodeJS.ReadStream,
): ReturnType<typeof readJsonFile> {
  if (data !== undefined && file !== undefined) throw usageError("-d and -f exclude each other");
  if (file !== undefined) return file === "-" ? readJsonInput("-", { stdin }) : readJsonFile(file);
  if (data !== undefined) return readJsonInput(data, { stdin });
  if (stdin.isTTY)
    throw usageError("there is nothing to put", "give JSON with -d, or a file with -f");
  return readJsonInput("-", { stdin });
}

function collect(value: string, previous: readonly string[] = []): readonly string[] {
  return [...previous, value];
}
