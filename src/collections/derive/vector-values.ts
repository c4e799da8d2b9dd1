import type { VectorIndexDefinition } from "../../storage/store-layout.ts";
import type { Slot } from "./slots.ts";

/** Numbers as the document has them, as a vector. Undefined for what is no list. */
export function vectorOfSlot(value: Slot): Float32Array | undefined {
  if (!Array.isArray(value)) return undefined;
  const vector = new Float32Array(value.length);
  for (let index = 0; index < value.length; index += 1) vector[index] = Number(value[index]);
  return vector;
}

/** Why a vector cannot be searched, or undefined if it can. */
export function faultOfVector(
  vector: Float32Array,
  { dimensions, metric }: Pick<VectorIndexDefinition, "dimensions" | "metric">,
): string | undefined {
  if (vector.length !== dimensions) {
    return `has ${vector.length} numbers; the vector field has ${dimensions}`;
  }
  let squares = 0;
  for (let index = 0; index < dimensions; index += 1) {
    const value = vector[index] ?? 0;
    squares += value * value;
  }
  if (!Number.isFinite(squares)) {
    const odd = vector.findIndex((value) => !Number.isFinite(value));
    return `[${odd}] is not finite`;
  }
  // The distance is computed in single precision.
  if (metric === "cosine" && Math.fround(squares) === 0) {
    return "has no direction: all numbers are 0 or next to it, and METRIC_COSINE compares directions";
  }
  return undefined;
}
