import { Random } from "../../test/support/random.ts";

/** Any number gives a vector of length 1 of its own, always the same, in a random direction. */
export function vectorOf(number: number, dimensions: number): Float32Array {
  const random = new Random(number);
  const vector = new Float32Array(dimensions);
  let squared = 0;
  for (let at = 0; at < dimensions; at += 1) {
    // The sum of a few is close to the normal distribution, which prefers no direction.
    const value =
      (random.below(2 ** 20) + random.below(2 ** 20) + random.below(2 ** 20)) / 2 ** 20 - 1.5;
    vector[at] = value;
    squared += value * value;
  }
  return vector.map((value) => value / Math.sqrt(squared));
}
