import { invalidField } from "../errors.ts";

/** The namespace that the server keeps its own records in; callers cannot write to it. */
export const systemNamespace = "system";

const namePattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;

/** @throws {CollectorError} ARGUMENT_MISSING, NAME_INVALID, about the field `field` of the request */
export function checkNamespaceName(name: string, field = "namespace"): void {
  if (namePattern.test(name)) return;
  refuseEmpty(name, field, "namespace");
  throw invalidField(
    "NAME_INVALID",
    field,
    `${quote(name)} is not a name: 1 to 128 of A-Z a-z 0-9 . _ -, the first a letter or digit`,
  );
}

/**
 * Refuses a name that was left out, which is another mistake than naming what is not there.
 *
 * @param what it would name, as in `file`
 * @throws {CollectorError} ARGUMENT_MISSING, about the field `field` of the request
 */
export function refuseEmpty(name: string, field: string, what: string): void {
  if (name === "") throw invalidField("ARGUMENT_MISSING", field, `names no ${what}`);
}

/** Longest text of a caller that a message repeats. */
const quotedCharsMax = 120;

/** A text of a caller, quoted and cut short, for a message. */
export function quote(text: string): string {
  return JSON.stringify(
    text.length <= quotedCharsMax ? text : `${text.slice(0, quotedCharsMax - 1)}…`,
  );
}
