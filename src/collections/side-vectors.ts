import { hash } from "node:crypto";
import { CollectorError, invalidField } from "../errors.ts";
import type { Vector } from "../gen/collector/collection_server_pb.ts";
import { didYouMean } from "../lib/suggest.ts";
import { quote } from "../registry/names.ts";
import type { DerivePlan } from "./derive/derive-plan.ts";
import { faultOfVector } from "./derive/vector-values.ts";

/**
 * The vectors that a request brings beside its record, by name; one without numbers is undefined.
 *
 * @param argument the request's field that holds them.
 * @returns undefined if there are none.
 * @throws {CollectorError} FIELD_UNKNOWN for a vector that the collection has not; ARGUMENT_INVALID
 */
export function readVectors(
  given: Readonly<Record<string, Vector>>,
  plan: DerivePlan,
  argument: string,
): ReadonlyMap<string, Float32Array | undefined> | undefined {
  let vectors: Map<string, Float32Array | undefined> | undefined;
  for (const name in given) {
    if (!Object.hasOwn(given, name)) continue;
    vectors ??= new Map();
    vectors.set(name, readVector(name, given[name]?.values ?? [], plan, argument));
  }
  return vectors;
}

function readVector(
  name: string,
  values: readonly number[],
  plan: DerivePlan,
  argument: string,
): Float32Array | undefined {
  const field = `${argument}[${JSON.stringify(name.slice(0, 64))}]`;
  const definition = plan.vectorsBeside.find((candidate) => candidate.name === name);
  if (definition === undefined) throw unknownVector(name, plan, field);
  if (values.length === 0) return undefined;
  const vector = Float32Array.from(values);
  const fault = faultOfVector(vector, definition);
  if (fault === undefined) return vector;
  throw invalidField("ARGUMENT_INVALID", field, fault);
}

function unknownVector(name: string, plan: DerivePlan, field: string): CollectorError {
  if (plan.vectorsInside.includes(name)) {
    return invalidField(
      "ARGUMENT_INVALID",
      field,
      "is read from the record's message; set it there, not beside it",
    );
  }
  const names = plan.vectorsBeside.map((definition) => definition.name);
  const known =
    names.length === 0
      ? "the collection has no vectors that come beside records"
      : `the collection has no vector field ${quote(name)}`;
  return invalidField("FIELD_UNKNOWN", field, `${known}${didYouMean(name, names)}`);
}

/** What of a request's vectors makes it the same request when it is sent again. */
export function vectorParts(given: Readonly<Record<string, Vector>>): unknown[] {
  return Object.entries(given)
    .sort(([one], [other]) => (one < other ? -1 : 1))
    .map(([name, { values }]) => [
      name,
      values.length,
      hash("sha256", new Uint8Array(Float32Array.from(values).buffer), "base64url"),
    ]);
}
