import { randomUUIDv7 } from "node:crypto";
import { CollectorError, invalidField } from "../errors.ts";
import type { NamespacedName } from "../gen/collector/common_pb.ts";
import type { Limits } from "../lib/limits.ts";
import { quote, systemNamespace } from "../registry/names.ts";

const namePattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;

/** Longest request id, in bytes of UTF-8. */
export const requestIdBytesMax = 256;

export type IdLimits = Pick<Limits, "recordIdBytesMax">;
export type LabelLimits = Pick<Limits, "labelsMax" | "labelKeyBytesMax" | "labelValueBytesMax">;

/** @throws {CollectorError} ARGUMENT_MISSING, NAME_INVALID about the field `field` */
export function checkCollectionName(name: string, field: string): void {
  if (namePattern.test(name)) return;
  if (name === "") throw invalidField("ARGUMENT_MISSING", field, "names no collection");
  throw invalidField(
    "NAME_INVALID",
    field,
    `${quote(name)} is not a name: 1 to 128 of A-Z a-z 0-9 . _ -, the first a letter or digit`,
  );
}

/** @throws {CollectorError} ARGUMENT_MISSING */
export function checkReference(
  reference: Pick<NamespacedName, "namespace" | "name"> | undefined,
): Pick<NamespacedName, "namespace" | "name"> {
  if (reference !== undefined && reference.name !== "") return reference;
  throw invalidField("ARGUMENT_MISSING", "collection.name", "names no collection");
}

/** @throws {CollectorError} SYSTEM_READ_ONLY */
export function refuseSystemWrite(namespace: string): void {
  if (namespace !== systemNamespace) return;
  throw new CollectorError(
    "SYSTEM_READ_ONLY",
    `namespace \`${systemNamespace}\` is written by the server alone; its collections can be read`,
    { subject: { namespace } },
  );
}

/** @throws {CollectorError} ID_INVALID, ARGUMENT_MISSING */
export function checkRecordId(id: string, limits: IdLimits, field = "id"): void {
  if (id === "") throw invalidField("ARGUMENT_MISSING", field, "names no record");
  // Most ids are so short that their bytes need no counting.
  if (id.length * 3 > limits.recordIdBytesMax) {
    const size = Buffer.byteLength(id);
    if (size > limits.recordIdBytesMax) {
      throw invalidField(
        "ID_INVALID",
        field,
        `has ${size} bytes of UTF-8, the limit is ${limits.recordIdBytesMax}`,
      );
    }
  }
  if (id.includes("\0")) throw invalidField("ID_INVALID", field, "holds a NUL character");
  if (!id.isWellFormed()) {
    throw invalidField("ID_INVALID", field, "holds half a surrogate pair, so it is not UTF-8");
  }
}

/** An id for a record that was given none: UUIDv7, so that ids made later sort later. */
export function newRecordId(): string {
  return randomUUIDv7();
}

/** @throws {CollectorError} LABEL_INVALID naming the label */
export function checkLabels(
  labels: Readonly<Record<string, string>>,
  limits: LabelLimits,
  field = "labels",
): void {
  const keys = Object.keys(labels);
  if (keys.length > limits.labelsMax) {
    throw invalidField(
      "LABEL_INVALID",
      field,
      `has ${keys.length} labels, the limit is ${limits.labelsMax}`,
    );
  }
  for (const key of keys) {
    const value = labels[key] ?? "";
    const fault = labelFault(key, value, limits);
    if (fault !== undefined) {
      throw invalidField("LABEL_INVALID", `${field}[${quote(key)}]`, fault);
    }
  }
}

function labelFault(key: string, value: string, limits: LabelLimits): string | undefined {
  if (key === "") return "a label needs a key";
  const keyBytes = Buffer.byteLength(key);
  if (keyBytes > limits.labelKeyBytesMax) {
    return `the key has ${keyBytes} bytes, the limit is ${limits.labelKeyBytesMax}`;
  }
  const valueBytes = Buffer.byteLength(value);
  if (valueBytes > limits.labelValueBytesMax) {
    return `the value has ${valueBytes} bytes, the limit is ${limits.labelValueBytesMax}`;
  }
  if (key.includes("\0") || value.includes("\0")) return "holds a NUL character";
  if (!key.isWellFormed() || !value.isWellFormed()) {
    return "holds half a surrogate pair, so it is not UTF-8";
  }
  return undefined;
}

/** @throws {CollectorError} ARGUMENT_INVALID */
export function checkRequestId(requestId: string, field = "request_id"): void {
  const size = Buffer.byteLength(requestId);
  if (size > requestIdBytesMax) {
    throw invalidField(
      "ARGUMENT_INVALID",
      field,
      `has ${size} bytes, the limit is ${requestIdBytesMax}`,
    );
  }
  if (requestId.includes("\0") || !requestId.isWellFormed()) {
    throw invalidField("ARGUMENT_INVALID", field, "must be UTF-8 without NUL characters");
  }
}
