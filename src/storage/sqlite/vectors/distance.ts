import type { VectorIndexDefinition } from "../../store-layout.ts";

export type Metric = VectorIndexDefinition["metric"];

/**
 * The distance of two vectors: for `cosine`, 1 − cos, 0 to 2; for `l2`, the Euclidean one. In
 * doubles, so no finite vector of 32-bit numbers overflows, and equal vectors are exactly 0 apart.
 *
 * @returns Infinity for a vector of length 0 under `cosine`, which is near to nothing
 */
export function distanceOf(metric: Metric, left: Float32Array, right: Float32Array): number {
  return metric === "cosine" ? cosineDistance(left, right) : euclideanDistance(left, right);
}

function cosineDistance(left: Float32Array, right: Float32Array): number {
  let product = 0;
  let leftSquared = 0;
  let rightSquared = 0;
  for (let at = 0; at < left.length; at++) {
    const x = left[at] as number;
    const y = right[at] as number;
    product += x * y;
    leftSquared += x * x;
    rightSquared += y * y;
  }
  const lengths = Math.sqrt(leftSquared * rightSquared);
  if (lengths === 0) return Number.POSITIVE_INFINITY;
  return Math.min(2, Math.max(0, 1 - product / lengths));
}

function euclideanDistance(left: Float32Array, right: Float32Array): number {
  let squared = 0;
  for (let at = 0; at < left.length; at++) {
    const difference = (left[at] as number) - (right[at] as number);
    squared += difference * difference;
  }
  return Math.sqrt(squared);
}

/**
 * The vector as searches by codes compare it: under `cosine`, scaled to length 1, where the Euclidean
 * distance orders as the angle does.
 *
 * @returns undefined if the vector cannot be compared: a number in it is not finite, or it has no
 * direction and only that counts
 */
export function comparable(metric: Metric, vector: Float32Array): Float64Array | undefined {
  const result = Float64Array.from(vector);
  let squared = 0;
  for (const value of result) squared += value * value;
  if (!Number.isFinite(squared)) return undefined;
  if (metric === "l2") return result;
  if (squared === 0) return undefined;
  const length = Math.sqrt(squared);
  for (let at = 0; at < result.length; at++) result[at] = (result[at] as number) / length;
  return result;
}

/** The largest Euclidean distance of comparable vectors whose distance is `distance`. */
export function comparableDistance(metric: Metric, distance: number): number {
  return metric === "cosine" ? Math.sqrt(2 * Math.max(0, distance)) : distance;
}
