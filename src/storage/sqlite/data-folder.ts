import { randomUUID } from "node:crypto";
import { mkdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { dirname, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { CollectorError } from "../../errors.ts";
import { type Log, silentLog } from "../../lib/log.ts";
import { type FormatMigration, formatMigrations, migrateFormat } from "./data-format.ts";
import { hasCode, syncPath } from "./file-sync.ts";
import { isBusy, translateError } from "./translate-error.ts";

/** The layout of the data folder that this server writes. */
export const dataFormat = 1;

const formatFile = "collector.json";
const holderFile = "server.json";
const lockFile = "lock.sqlite";

export interface DataFolderOptions {
  /** Names this collector for good; made up and kept if there is none. */
  readonly collectorId?: string | undefined;
  readonly log?: Log;
  /** For tests of the upgrade: other migrations than this server has. */
  readonly migrations?: readonly FormatMigration[];
  readonly format?: number;
}

/** A data folder that this process alone uses until it is closed or the process ends. */
export interface DataFolder extends AsyncDisposable {
  readonly path: string;
  readonly collectorId: string;
  /** Lets another server use the folder. The storage engine has to be closed before. */
  close(): Promise<void>;
}

/** Another server uses the data folder. */
export class DataFolderLockedError extends CollectorError {
  /** What the other server wrote about itself; undefined if it did not get that far. */
  readonly holder: DataFolderHolder | undefined;

  constructor(path: string, holder: DataFolderHolder | undefined) {
    const who = holder === undefined ? "" : ` (process ${holder.pid} on ${holder.host})`;
    super(
      "STORAGE_UNAVAILABLE",
      `another server${who} uses the data folder ${path}: stop it, or start with another --data`,
    );
    this.holder = holder;
  }
}

export interface DataFolderHolder {
  readonly pid: number;
  readonly host: string;
}

interface FormatRecord {
  readonly format: number;
  readonly collectorId: string;
}

/**
 * Makes the data folder if need be, locks it for this process, and upgrades it if an older server
 * wrote it. The lock ends with the process, however that ends.
 *
 * Messages of its errors name the path: they are for the operator, not for a caller.
 *
 * @throws {DataFolderLockedError}
 * @throws {CollectorError} STORAGE_UNAVAILABLE if a newer server wrote the folder, or it cannot be
 * used; STORAGE_CORRUPT if it is not a data folder. It is left as it was.
 */
export async function openDataFolder(
  path: string,
  options: DataFolderOptions = {},
): Promise<DataFolder> {
  const { log = silentLog, migrations = formatMigrations, format = dataFormat } = options;
  try {
    await makeFolder(path);
  } catch (error) {
    throw unusable(path, error);
  }
  const lock = await lockFolder(path);
  try {
    const found = await readFormat(path);
    if (found !== undefined && found.format > format) {
      throw new CollectorError(
        "STORAGE_UNAVAILABLE",
        `the data folder ${path} has format ${found.format}, this server knows up to ${format}: start a newer server`,
      );
    }
    const collectorId = options.collectorId ?? found?.collectorId ?? randomUUID();
    if (found !== undefined) {
      await migrateFormat(path, { from: found.format, to: format, migrations, log }, (reached) =>
        writeFormat(path, { format: reached, collectorId: found.collectorId }),
      );
    }
    if (found?.format !== format || found.collectorId !== collectorId) {
      await writeFormat(path, { format, collectorId });
    }
    await writeDurably(join(path, holderFile), { pid: process.pid, host: hostname() });
    const close = async (): Promise<void> => {
      if (!lock.isOpen) return;
      await rm(join(path, holderFile), { force: true });
      lock.close();
    };
    return { path, collectorId, close, [Symbol.asyncDispose]: close };
  } catch (error) {
    lock.close();
    throw error instanceof CollectorError ? error : unusable(path, error);
  }
}

/**
 * An exclusive lock on a database of its own: the operating system ends it with the process, and
 * SQLite sees to it that it also holds within the process.
 */
async function lockFolder(path: string): Promise<DatabaseSync> {
  let lock: DatabaseSync | undefined;
  try {
    lock = new DatabaseSync(join(path, lockFile), { timeout: 0 });
    lock.exec("PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE");
    return lock;
  } catch (error) {
    lock?.close();
    if (isBusy(error)) throw new DataFolderLockedError(path, await readHolder(path));
    throw unusable(path, error);
  }
}

async function readHolder(path: string): Promise<DataFolderHolder | undefined> {
  try {
    const { pid, host } = JSON.parse(await readFile(join(path, holderFile), "utf8"));
    return typeof pid === "number" && typeof host === "string" ? { pid, host } : undefined;
  } catch (error) {
    if (error instanceof SyntaxError || hasCode(error, "ENOENT")) return undefined;
    throw unusable(path, error);
  }
}

async function readFormat(path: string): Promise<FormatRecord | undefined> {
  let text: string;
  try {
    text = await readFile(join(path, formatFile), "utf8");
  } catch (error) {
    if (hasCode(error, "ENOENT")) return undefined;
    throw error;
  }
  const { format, collectorId } = parseObject(text);
  if (typeof format === "number" && Number.isInteger(format) && typeof collectorId === "string") {
    return { format, collectorId };
  }
  throw new CollectorError(
    "STORAGE_CORRUPT",
    `${join(path, formatFile)} is damaged: restore it from a backup, or choose another data folder`,
  );
}

function parseObject(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? { ...value } : {};
  } catch (error) {
    if (error instanceof SyntaxError) return {};
    throw error;
  }
}

function writeFormat(path: string, record: FormatRecord): Promise<void> {
  return writeDurably(join(path, formatFile), record);
}

/** Replaces a file as a whole: after a crash it is the old one or the new one. */
async function writeDurably(path: string, value: object): Promise<void> {
  const unfinished = `${path}.new`;
  await writeFile(unfinished, `${JSON.stringify(value)}\n`, { flush: true });
  await rename(unfinished, path);
  await syncPath(dirname(path));
}

function unusable(path: string, error: unknown): CollectorError {
  const { reason, message } = translateError(error);
  const why = error instanceof Error ? error.message : message;
  return new CollectorError(reason, `the data folder ${path} cannot be used: ${why}`, {
    cause: error,
  });
}

/**
 * Makes a folder with those above it. The runtime's own `recursive` never ends where a folder exists
 * and takes no others, as in `/proc`.
 */
async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path);
  } catch (error) {
    if (hasCode(error, "EEXIST") && (await stat(path)).isDirectory()) return;
    const above = dirname(path);
    if (!hasCode(error, "ENOENT") || above === path) throw error;
    await makeFolder(above);
    await mkdir(path);
  }
}
