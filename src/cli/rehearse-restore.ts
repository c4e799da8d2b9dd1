import type { Client } from "../client/client.ts";
import { ClientError } from "../client/client-error.ts";
import type { DescribeResponse } from "../gen/collector/collection_server_pb.ts";
import { contents } from "./backup-table.ts";
import { tellDryRun } from "./dry-run.ts";
import { exitCodes } from "./exit-codes.ts";
import { CliError } from "./failure.ts";
import { count, type Output } from "./output.ts";

/** Where a restore goes to. */
export interface RestoreTarget {
  /** As given by --as, in either form; else what the backup is of. */
  readonly as: string;
  /** Of a name without one. */
  readonly namespace: string;
  /** What is restored, as in `backup 0198… of default/products: 2 records`. */
  readonly source: string;
  readonly overwrite: boolean;
}

/**
 * Says what a restore would make or replace, and does nothing.
 *
 * @throws {CliError} COLLECTION_EXISTS if the restore would be refused
 */
export async function rehearseRestore(
  client: Client,
  target: RestoreTarget,
  { output, signal }: { readonly output: Output; readonly signal: AbortSignal },
): Promise<void> {
  const { as, source, overwrite } = target;
  const there = await whatIsThere(client, target, signal);
  if (there === undefined) {
    tellDryRun(output, `make ${as} from ${source}`, { name: as, replaces: false });
    return;
  }
  if (!overwrite) throw taken(as);
  const what = `replace ${as}, which has ${contents(there)}, by ${source}`;
  tellDryRun(output, what, {
    name: as,
    replaces: true,
    records: String(there.recordCount),
    files: String(there.fileCount),
  });
}

/**
 * Says what a set of backups would make and replace, and does nothing.
 *
 * @throws {CliError} BACKUP_NOT_FOUND; RESTORE_INCOMPLETE if any of them would be refused
 */
export async function rehearseSet(
  client: Client,
  setId: string,
  options: { readonly collection: string | undefined; readonly overwrite: boolean },
  { output, signal }: { readonly output: Output; readonly signal: AbortSignal },
): Promise<void> {
  const rows: { readonly of: string; readonly holds: string; readonly would: string }[] = [];
  let refused = 0;
  for await (const backup of client.backups.list({ setId, signal })) {
    const { collection } = backup;
    if (collection === undefined || collection.name === "") continue;
    const { namespace, name } = collection;
    const of = `${namespace}/${name}`;
    if (options.collection !== undefined && options.collection !== of) {
      if (options.collection !== name) continue;
    }
    const there = await whatIsThere(client, { as: of, namespace }, signal);
    if (there !== undefined && !options.overwrite) refused += 1;
    const would =
      there === undefined
        ? "make it"
        : options.overwrite
          ? `replace ${contents(there)}`
          : "be refused: it is there, and --overwrite is not given";
    rows.push({ of, holds: contents(backup), would });
  }
  output.list(
    rows,
    [
      { header: "NAME", text: ({ of }) => of },
      { header: "HOLDS", text: ({ holds }) => holds },
      { header: "WOULD", text: ({ would }) => would, whole: true },
    ],
    ({ of, holds, would }) => ({ name: of, holds, would }),
  );
  if (rows.length === 0) {
    throw new CliError("BACKUP_NOT_FOUND", `set ${setId} has no such backup`, {
      exitCode: exitCodes.notFound,
      hint: "`collector backup list` shows the backups there are",
    });
  }
  output.note("nothing was changed, as this is a dry run");
  if (refused === 0) return;
  const message = `${refused} of ${count(rows.length, "backup")} would be refused`;
  throw new CliError("RESTORE_INCOMPLETE", message);
}

async function whatIsThere(
  client: Client,
  { as, namespace: fallback }: Pick<RestoreTarget, "as" | "namespace">,
  signal: AbortSignal,
): Promise<DescribeResponse | undefined> {
  const [first = "", second] = as.split("/");
  const namespace = second === undefined ? fallback : first;
  const collectionName = second ?? first;
  try {
    return await client.services.records.describe({ namespace, collectionName }, { signal });
  } catch (error) {
    if (error instanceof ClientError && error.reason === "COLLECTION_NOT_FOUND") return undefined;
    throw error;
  }
}

function taken(name: string): CliError {
  return new CliError("COLLECTION_EXISTS", `there is a collection ${name} already`, {
    exitCode: exitCodes.conflict,
    hint: "name another with --as, or replace it with --overwrite",
  });
}
