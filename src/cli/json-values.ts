import type { JsonValue } from "@bufbuild/protobuf";

export type JsonObject = Readonly<Record<string, JsonValue | undefined>>;

/** The members of a value, none if it is no object. */
export function asObject(value: JsonValue | undefined): JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? value : {};
}

/** A text, empty if the value is none: JSON leaves empty ones out. */
export function textOf(value: JsonValue | undefined): string {
  return typeof value === "string" ? value : "";
}

/** The texts of a list, none if the value is no list. */
export function textsOf(value: JsonValue | undefined): readonly string[] {
  return Array.isArray(value) ? value.map(textOf) : [];
}

/** The objects of a list, none if the value is no list. */
export function objectsOf(value: JsonValue | undefined): readonly JsonObject[] {
  return Array.isArray(value) ? value.map(asObject) : [];
}
