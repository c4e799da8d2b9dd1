import { basename } from "node:path";
import type { JsonValue } from "@bufbuild/protobuf";
import type { AttachedFile } from "../../client/files.ts";
import { contentTypeOf } from "../content-type.ts";
import type { DefineCommands } from "../define-commands.ts";
import { type DryRun, dryRunOption, tellDryRun } from "../dry-run.ts";
import { usageError } from "../failure.ts";
import { readLocal, writeLocal } from "../file-transfer.ts";
import { type Column, formatBytes } from "../output.ts";
import { counted, Progress } from "../progress.ts";

/** Transfers below this are over before a bar says anything, in bytes. */
const progressFrom = 1024 * 1024;

interface OwnerOptions {
  readonly record?: string;
}

interface PutOptions extends OwnerOptions {
  readonly name?: string;
  readonly type?: string;
  readonly sha256?: string;
  readonly ifMatch?: string;
  readonly create?: boolean;
}

interface ListOptions extends OwnerOptions {
  readonly prefix?: string;
}

interface DeleteOptions extends OwnerOptions, DryRun {
  readonly ifMatch?: string;
  readonly allowMissing?: boolean;
}

const columns: readonly Column<AttachedFile>[] = [
  { header: "NAME", text: ({ name }) => name },
  { header: "SIZE", text: ({ sizeBytes }) => formatBytes(sizeBytes), right: true },
  { header: "TYPE", text: ({ contentType }) => contentType },
  { header: "STORED", text: ({ updatedAt }) => updatedAt?.toISOString() ?? "" },
];

/** `collector file …` */
export const define: DefineCommands = (command, context, environment) => {
  command
    .command("put <collection> <local-file>")
    .description("attach a file to a collection, or to one of its records; - reads stdin")
    .option("--record <id>", "record to attach it to")
    .option("--name <name>", "name to give it, as in photos/front.jpg; by default the local one")
    .option("--type <type>", "media type; by default the one that the name suggests")
    .option("--sha256 <hex>", "SHA-256 that the content must have")
    .option("--if-match <sha256>", "fail unless the file that is replaced has this SHA-256")
    .option("--create", "fail if there is a file of this name")
    .addHelpText(
      "after",
      `
Examples:
  collector file put products front.jpg --record esp-1 --name photos/front.jpg
  tar c docs | collector file put products - --name docs.tar`,
    )
    .action(async (collection: string, path: string, options: PutOptions, self) => {
      const { output, connect, signal } = context(self);
      const name = options.name ?? localName(path);
      const { chunks, sizeBytes } = await readLocal(path, environment.stdin);
      await using client = await connect();
      using progress = new Progress({
        label: `sending ${name}`,
        total: sizeBytes,
        stream: environment.stderr,
        showFrom: progressFrom,
      });
      const content = counted(chunks, progress, ({ byteLength }) => byteLength);
      const { record: recordId = "", sha256 = "", ifMatch = "" } = options;
      const file = await client.files(collection).put(name, content, {
        recordId,
        contentType: options.type ?? contentTypeOf(name),
        sha256,
        ifMatch,
        createOnly: options.create === true,
        signal,
      });
      progress[Symbol.dispose]();
      output.result(`put ${file.name} (${formatBytes(file.sizeBytes)})`, toJson(file));
    });

  command
    .command("get <collection> <name> [local-file]")
    .description("fetch a file; by default it gets the last part of its name here; - writes stdout")
    .option("--record <id>", "record that it is attached to")
    .action(
      async (
        collection: string,
        name: string,
        path: string | undefined,
        options: OwnerOptions,
        self,
      ) => {
        const { output, connect, signal } = context(self);
        const target = path ?? localName(name);
        await using client = await connect();
        const { record: recordId = "" } = options;
        const { file, content } = await client.files(collection).get(name, { recordId, signal });
        using progress = new Progress({
          label: `fetching ${name}`,
          total: Number(file.sizeBytes),
          stream: environment.stderr,
          showFrom: progressFrom,
        });
        const chunks = counted(content, progress, ({ byteLength }) => byteLength);
        await writeLocal(target, chunks, environment);
        progress[Symbol.dispose]();
        if (target === "-") return;
        const json = { ...toJson(file), path: target };
        output.result(`wrote ${target} (${formatBytes(file.sizeBytes)})`, json);
      },
    );

  command
    .command("list <collection>")
    .description("list the files of a collection, or of one of its records")
    .option("--record <id>", "record whose files to list")
    .option("--prefix <text>", "only names that begin so, as in photos/")
    .action(async (collection: string, options: ListOptions, self) => {
      const { output, connect, signal } = context(self);
      await using client = await connect();
      const { record: recordId = "", prefix = "" } = options;
      const files = await Array.fromAsync(
        client.files(collection).list({ recordId, prefix, signal }),
      );
      output.list(files, columns, toJson);
      if (files.length === 0) output.note("no files");
    });

  command
    .command("stat <collection> <name>")
    .description("show what is known of a file")
    .option("--record <id>", "record that it is attached to")
    .action(async (collection: string, name: string, options: OwnerOptions, self) => {
      const { output, connect, signal } = context(self);
      await using client = await connect();
      const { record: recordId = "" } = options;
      const file = await client.files(collection).stat(name, { recordId, signal });
      output.facts(
        [
          ["name", file.name],
          ["record", file.recordId],
          ["size", `${formatBytes(file.sizeBytes)} (${file.sizeBytes})`],
          ["type", file.contentType],
          ["sha256", file.sha256],
          ["created", file.createdAt?.toISOString() ?? ""],
          ["stored", file.updatedAt?.toISOString() ?? ""],
          ["url", client.url + file.uri],
        ],
        toJson(file),
      );
    });

  command
    .command("rm <collection> <name>")
    .alias("delete")
    .description("remove a file")
    .option("--record <id>", "record that it is attached to")
    .option("--if-match <sha256>", "fail unless the file has this SHA-256")
    .option("--allow-missing", "succeed if it is not there")
    .option(...dryRunOption)
    .action(async (collection: string, name: string, options: DeleteOptions, self) => {
      const { output, connect, signal } = context(self);
      await using client = await connect();
      const { record: recordId = "", ifMatch = "", allowMissing = false } = options;
      if (options.dryRun === true) {
        const file = await client.files(collection).stat(name, { recordId, signal });
        tellDryRun(output, `delete ${name} (${formatBytes(file.sizeBytes)})`, toJson(file));
        return;
      }
      await client.files(collection).delete(name, { recordId, ifMatch, allowMissing, signal });
      output.result(`deleted ${name}`, { deleted: name });
    });
};

function localName(path: string): string {
  if (path !== "-") return basename(path);
  throw usageError("what comes from stdin has no name", "give it one with --name");
}

function toJson(file: AttachedFile): { [key: string]: JsonValue } {
  return {
    name: file.name,
    recordId: file.recordId,
    sizeBytes: String(file.sizeBytes),
    sha256: file.sha256,
    contentType: file.contentType,
    createdAt: file.createdAt?.toISOString() ?? "",
    updatedAt: file.updatedAt?.toISOString() ?? "",
    uri: file.uri,
  };
}
