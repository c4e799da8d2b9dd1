import { existsSync, renameSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import type { DatabaseSync } from "node:sqlite";
import { CollectorError } from "../../errors.ts";
import { malformedRow } from "./connection.ts";
import { syncPathSync } from "./file-sync.ts";
import { checkSchemaVersion, readSchemaVersion, schemaVersion } from "./schema.ts";

/** Stores of this version were made before the first release; nothing brings them further. */
const preReleaseVersion = 1n;

/** Brings a store from one schema version to the next, inside a transaction. */
export interface SchemaUpgrade {
  readonly from: bigint;
  readonly apply: (db: DatabaseSync) => void;
}

/** In order, each starting where the one before ends; the last ends at `schemaVersion`. */
export const schemaUpgrades: readonly SchemaUpgrade[] = [];

/**
 * Upgrades a store of an older schema in one transaction, after putting a copy of it beside it,
 * named after its old version. A store of the current schema is left alone.
 *
 * @throws {CollectorError} STORAGE_UNAVAILABLE if the store is newer, or of a pre-release;
 * STORAGE_CORRUPT if its version was never one.
 */
export function upgradeSchema(
  db: DatabaseSync,
  path: string,
  upgrades: readonly SchemaUpgrade[] = schemaUpgrades,
  target: bigint = schemaVersion,
): void {
  let version = readSchemaVersion(db);
  if (version === target) return;
  checkSchemaVersion(version, target);
  const first = upgrades.findIndex(({ from }) => from === version);
  if (first < 0) throw noWayFrom(version);
  keepCopy(db, `${path}.v${version}`);
  db.exec("BEGIN IMMEDIATE");
  try {
    for (const { apply } of upgrades.slice(first)) {
      apply(db);
      version++;
    }
    db.exec(`PRAGMA user_version = ${version}`);
    db.exec("COMMIT");
  } catch (error) {
    if (db.isTransaction) db.exec("ROLLBACK");
    throw error;
  }
}

function noWayFrom(version: bigint): CollectorError {
  if (version !== preReleaseVersion) return malformedRow();
  return new CollectorError(
    "STORAGE_UNAVAILABLE",
    "the data of this collection was made by a pre-release of this server, which this one does not read: export it there and import it here, or start with an empty data folder",
  );
}

function keepCopy(db: DatabaseSync, path: string): void {
  if (existsSync(path)) return;
  const unfinished = `${path}.new`;
  rmSync(unfinished, { force: true });
  db.prepare("VACUUM INTO ?").run(unfinished);
  syncPathSync(unfinished);
  renameSync(unfinished, path);
  syncPathSync(dirname(path));
}
