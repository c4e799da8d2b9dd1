import { closeSync, fdatasyncSync, openSync } from "node:fs";
import { becomeBackground } from "../../../lib/background-process.ts";
import { openForWriting } from "../connection.ts";
import { packFailure } from "../failure.ts";
import { translateError } from "../translate-error.ts";
import type { WriteBackReport, WriteBackRequest } from "./messages.ts";

// The main module of the process that writes logs back to their databases.

becomeBackground();
process.on("message", ({ call, path }: WriteBackRequest) => {
  const report: WriteBackReport = { call, failure: failureOf(path) };
  process.send?.(report);
});

function failureOf(path: string): WriteBackReport["failure"] {
  try {
    writeBack(path);
    return undefined;
  } catch (error) {
    return packFailure(translateError(error));
  }
}

/** Brings to the disk what the log has that no reader needs there; blocks. */
function writeBack(path: string): void {
  const db = openForWriting(path, "full");
  let file: number | undefined;
  try {
    file = openSync(path, "r");
    db.prepare("PRAGMA wal_checkpoint(PASSIVE)").get();
    // SQLite does so only when it has come to the end of the log, which writes move on meanwhile.
    fdatasyncSync(file);
  } finally {
    db.close();
    // Not before: closing any handle of the file drops the locks that this process has on it.
    if (file !== undefined) closeSync(file);
  }
}
