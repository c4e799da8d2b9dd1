import { invalidField } from "../errors.ts";
import type { ModifyRequest } from "../gen/collector/collection_server_pb.ts";
import { didYouMean } from "../lib/suggest.ts";
import { quote } from "../registry/names.ts";

/** A part of a definition that Modify can change. */
export type MaskedPart = "indexedFields" | "labels" | "textSearch" | "vectorFields" | "expiry";

/** What a mask may name, by the part it stands for. */
const partsByName: Readonly<Record<string, MaskedPart>> = {
  indexed_fields: "indexedFields",
  indexedFields: "indexedFields",
  labels: "labels",
  text_search: "textSearch",
  textSearch: "textSearch",
  vector_fields: "vectorFields",
  vectorFields: "vectorFields",
  expiry: "expiry",
};
const names = ["indexed_fields", "labels", "text_search", "vector_fields", "expiry"];

/** The parts that a request changes. @throws {CollectorError} FIELD_UNKNOWN */
export function readModifyMask(
  request: Pick<ModifyRequest, "updateMask" | "labels" | "textSearch" | "vectorFields" | "expiry">,
): ReadonlySet<MaskedPart> {
  const { updateMask } = request;
  if (updateMask.includes("*")) return new Set(Object.values(partsByName));
  if (updateMask.length === 0) return presentParts(request);
  return new Set(
    updateMask.map((path) => {
      const part = Object.hasOwn(partsByName, path) ? partsByName[path] : undefined;
      if (part !== undefined) return part;
      throw invalidField(
        "FIELD_UNKNOWN",
        "update_mask",
        `${quote(path)} cannot be modified, but ${names.join(", ")} can${didYouMean(path, names)}`,
      );
    }),
  );
}

function presentParts(
  request: Pick<ModifyRequest, "labels" | "textSearch" | "vectorFields" | "expiry">,
): Set<MaskedPart> {
  const parts = new Set<MaskedPart>(["indexedFields"]);
  if (Object.keys(request.labels).length > 0) parts.add("labels");
  if (request.textSearch !== undefined) parts.add("textSearch");
  if (request.vectorFields.length > 0) parts.add("vectorFields");
  if (request.expiry !== undefined) parts.add("expiry");
  return parts;
}
