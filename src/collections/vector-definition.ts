import { create, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { invalidField } from "../errors.ts";
import {
  type Collection,
  type VectorField,
  VectorField_Metric,
  VectorFieldSchema,
} from "../gen/collector/collection_pb.ts";
import { quote } from "../registry/names.ts";
import type { VectorIndexDefinition } from "../storage/store-layout.ts";
import { definitionPath, leadsToMany, suggestFields } from "./value-paths.ts";

/** Vector fields of one collection. */
export const vectorFieldsMax = 8;
/** Most numbers in a vector. */
export const vectorDimensionsMax = 4096;
const namePattern = /^[a-z][a-z0-9_]{0,63}$/;

/**
 * Checks the vector fields of a definition.
 *
 * @param argument the request's field that holds them, as in `collection.vector_fields`.
 * @returns the same with proto names, and with what was left to the server filled in.
 * @throws {CollectorError} ARGUMENT_INVALID, ARGUMENT_MISSING, FIELD_UNKNOWN
 */
export function checkVectorFields(
  desc: DescMessage,
  given: readonly VectorField[],
  argument: string,
): VectorField[] {
  if (given.length > vectorFieldsMax) {
    const description = `has ${given.length} fields, the limit is ${vectorFieldsMax}`;
    throw invalidField("ARGUMENT_INVALID", argument, description);
  }
  const names = new Map<string, number>();
  return given.map(({ name, path, dimensions, metric }, index) => {
    const field = `${argument}[${index}]`;
    checkName(name, names, `${field}.name`);
    names.set(name, index);
    return create(VectorFieldSchema, {
      name,
      path: path === "" ? "" : vectorPath(desc, path, `${field}.path`),
      dimensions: checkDimensions(dimensions, `${field}.dimensions`),
      metric: checkMetric(metric, `${field}.metric`),
    });
  });
}

function checkName(name: string, names: ReadonlyMap<string, number>, argument: string): void {
  if (name === "") throw invalidField("ARGUMENT_MISSING", argument, "is missing; name the vector");
  if (!namePattern.test(name)) {
    throw invalidField(
      "ARGUMENT_INVALID",
      argument,
      `${quote(name)} is no name; send a letter of a-z, then up to 63 of a-z 0-9 _`,
    );
  }
  const earlier = names.get(name);
  if (earlier === undefined) return;
  const description = `is ${quote(name)}, as vector_fields[${earlier}] is`;
  throw invalidField("ARGUMENT_INVALID", argument, description);
}

function vectorPath(desc: DescMessage, given: string, argument: string): string {
  const { steps, path } = definitionPath(desc, given, argument);
  const last = steps.at(-1)?.field;
  const isFloats =
    last?.fieldKind === "list" &&
    (last.scalar === ScalarType.FLOAT || last.scalar === ScalarType.DOUBLE);
  if (isFloats && !leadsToMany(steps.slice(0, -1))) return path;
  const near = suggestFields(
    desc,
    given,
    ({ type, repeated }) => repeated && (type === "float" || type === "double"),
  );
  const why = isFloats
    ? "a record can have several of it"
    : "it is no repeated float; leave path empty if vectors come beside the records";
  throw invalidField("ARGUMENT_INVALID", argument, `${quote(path)} holds no vector: ${why}${near}`);
}

function checkDimensions(dimensions: number, argument: string): number {
  if (dimensions >= 1 && dimensions <= vectorDimensionsMax) return dimensions;
  const description = `is ${dimensions}; send 1 to ${vectorDimensionsMax}`;
  throw invalidField("ARGUMENT_INVALID", argument, description);
}

function checkMetric(metric: VectorField_Metric, argument: string): VectorField_Metric {
  switch (metric) {
    case VectorField_Metric.UNSPECIFIED:
      return VectorField_Metric.COSINE;
    case VectorField_Metric.COSINE:
    case VectorField_Metric.L2:
      return metric;
    default:
      throw invalidField(
        "ARGUMENT_INVALID",
        argument,
        `is ${Number(metric)}; send METRIC_COSINE or METRIC_L2`,
      );
  }
}

/**
 * Refuses changes of vector fields that would leave records with vectors of another meaning: those that
 * came beside records cannot be made anew, and a new path is another vector.
 *
 * @throws {CollectorError} ARGUMENT_INVALID
 */
export function checkVectorChange(
  from: readonly VectorField[],
  to: readonly VectorField[],
  argument: string,
): void {
  for (const [index, field] of to.entries()) {
    const before = from.find(({ name }) => name === field.name);
    if (before === undefined) continue;
    const at = `${argument}[${index}]`;
    if (before.path !== field.path) {
      throw invalidField(
        "ARGUMENT_INVALID",
        `${at}.path`,
        `is ${quote(field.path)}, and ${quote(before.path)} in the definition; give it another name as well`,
      );
    }
    const isSame = before.dimensions === field.dimensions && before.metric === field.metric;
    if (isSame || field.path !== "") continue;
    const what = before.dimensions === field.dimensions ? "metric" : "dimensions";
    throw invalidField(
      "ARGUMENT_INVALID",
      `${at}.${what}`,
      "cannot change while vectors come beside the records: give the field another name and send them again",
    );
  }
}

export function vectorIndexesOf({
  vectorFields,
}: Pick<Collection, "vectorFields">): VectorIndexDefinition[] {
  return vectorFields.map(({ name, dimensions, metric }) => ({
    name,
    dimensions,
    metric: metric === VectorField_Metric.L2 ? "l2" : "cosine",
  }));
}

/** Paths of the vectors that are in the message, by name. */
export function vectorPathsOf({
  vectorFields,
}: Pick<Collection, "vectorFields">): ReadonlyMap<string, string> {
  return new Map(
    vectorFields.filter(({ path }) => path !== "").map(({ name, path }) => [name, path]),
  );
}

export function isSameVectors(
  one: readonly VectorIndexDefinition[],
  other: readonly VectorIndexDefinition[],
): boolean {
  return (
    one.length === other.length &&
    one.every(({ name, dimensions, metric }) =>
      other.some(
        (field) =>
          field.name === name && field.dimensions === dimensions && field.metric === metric,
      ),
    )
  );
}
