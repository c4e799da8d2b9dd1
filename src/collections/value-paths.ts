import type { DescMessage } from "@bufbuild/protobuf";
import { nearest } from "../lib/suggest.ts";
import {
  describeFields,
  type FieldDescription,
  type PathStep,
  resolvePath,
} from "./field-paths.ts";

/**
 * The fields that a path of a definition goes through, and the path in proto names.
 *
 * @throws {CollectorError} FIELD_UNKNOWN
 */
export function definitionPath(
  desc: DescMessage,
  path: string,
  argument: string,
): { readonly steps: readonly PathStep[]; readonly path: string } {
  const steps = resolvePath(desc, path, argument, { throughLists: true });
  return { steps, path: pathOf(steps) };
}

/** The path in proto names, which leads to the same steps. */
function pathOf(steps: readonly PathStep[]): string {
  const names: string[] = [];
  for (const { field, key } of steps) {
    const holder = field.parent.typeName;
    // Keys of JSON come one after the other; the messages that hold them are not named.
    const isJson = holder === "google.protobuf.Struct" || holder === "google.protobuf.Value";
    if (!isJson) names.push(field.name);
    if (key !== undefined) names.push(/[.`]/.test(key) ? `\`${key.replaceAll("`", "``")}\`` : key);
  }
  return names.join(".");
}

/** True if a step on the way may lead to many values. */
export function leadsToMany(steps: readonly PathStep[]): boolean {
  return steps.some(
    ({ field, key }) =>
      field.fieldKind === "list" || (field.fieldKind === "map" && key === undefined),
  );
}

/** Fields that would do, as in `; did you mean title?`, or the first of all. */
export function suggestFields(
  desc: DescMessage,
  path: string,
  fits: (field: FieldDescription) => boolean,
): string {
  const paths = describeFields(desc)
    .filter(fits)
    .map((field) => field.path);
  const near = nearest(path, paths);
  if (near.length > 0) return `; did you mean ${near.join(" or ")}?`;
  return paths.length === 0 ? "" : `; ${paths.slice(0, 5).join(", ")} would do`;
}
