import { closeSync, openSync, readSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";

const magic = "SQLite format 3\0";

/**
 * Checks every database of a stopped server's data folder with SQLite's own integrity check, which
 * covers indexes and full-text tables too.
 *
 * @returns what is wrong, one line each, and how many databases were checked.
 */
export async function checkDatabases(
  dataFolder: string,
): Promise<{ readonly checked: number; readonly wrong: readonly string[] }> {
  const wrong: string[] = [];
  let checked = 0;
  for (const entry of await readdir(dataFolder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    // A log goes away with the connection that used it, and holds no database of its own.
    if (!entry.isFile() || /-(wal|shm)$/.test(entry.name) || !isDatabase(path)) continue;
    checked += 1;
    using db = new DatabaseSync(path);
    for (const row of db.prepare("PRAGMA integrity_check").all()) {
      const verdict = row["integrity_check"];
      if (verdict !== "ok") wrong.push(`${entry.name}: ${String(verdict)}`);
    }
  }
  return { checked, wrong };
}

function isDatabase(path: string): boolean {
  const file = openSync(path, "r");
  try {
    const head = Buffer.alloc(magic.length);
    return (
      readSync(file, head, 0, head.length, 0) === head.length && head.toString("latin1") === magic
    );
  } finally {
    closeSync(file);
  }
}
