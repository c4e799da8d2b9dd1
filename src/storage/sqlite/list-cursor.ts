import { invalidField } from "../../errors.ts";

const cursorPattern = /^([0-9a-z]{1,13})\.([0-9a-f]{8})$/;

/**
 * Where a list goes on: after the record with this `seq`, in this incarnation of the store and in no
 * other.
 */
export function encodeCursor(seq: bigint, incarnation: string): string {
  return `${seq.toString(36)}.${incarnation.slice(0, 8)}`;
}

/** @throws {CollectorError} PAGE_TOKEN_INVALID */
export function decodeCursor(cursor: string, incarnation: string): bigint {
  const match = cursorPattern.exec(cursor);
  const [, seq, of] = match ?? [];
  if (seq === undefined || of !== incarnation.slice(0, 8)) {
    throw invalidField(
      "PAGE_TOKEN_INVALID",
      "page_token",
      "is not of this collection as it is now; send none to start over",
    );
  }
  let value = 0n;
  for (const digit of seq) value = value * 36n + BigInt(Number.parseInt(digit, 36));
  return BigInt.asIntN(64, value);
}
