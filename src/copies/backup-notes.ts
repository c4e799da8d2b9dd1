import { invalidField } from "../errors.ts";

const notesMax = 64;
const notesBytesMax = 64 * 1024;

/** @throws {CollectorError} ARGUMENT_INVALID about the field `field` */
export function checkNotes(metadata: Readonly<Record<string, string>>, field = "metadata"): void {
  const entries = Object.entries(metadata);
  const bytes = entries.reduce((sum, [key, value]) => sum + Buffer.byteLength(key + value), 0);
  if (entries.length <= notesMax && bytes <= notesBytesMax) return;
  throw invalidField(
    "ARGUMENT_INVALID",
    field,
    `has ${entries.length} notes of ${bytes} bytes; send at most ${notesMax} of ${notesBytesMax} bytes together`,
  );
}
