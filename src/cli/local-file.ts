import { statSync } from "node:fs";

/** Whether a text that may be the id of a backup names a file. Ids are UUIDs, and nobody names a file so. */
export function isFileHere(text: string): boolean {
  const isId = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(text);
  return !isId && statSync(text, { throwIfNoEntry: false })?.isFile() === true;
}
