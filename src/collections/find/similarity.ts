import { invalidField } from "../../errors.ts";
import { VectorField_Metric } from "../../gen/collector/collection_pb.ts";

/** Similarity, higher is better: 1 − d for the cosine distance d, 1 / (1 + d) for L2. */
export function similarityOf(distance: number, metric: VectorField_Metric): number {
  return metric === VectorField_Metric.L2 ? 1 / (1 + distance) : 1 - distance;
}

/**
 * The largest distance with at least this similarity; undefined for 0, which means off.
 *
 * @throws {CollectorError} QUERY_INVALID for a similarity that the metric does not have
 */
export function distanceMaxOf(threshold: number, metric: VectorField_Metric): number | undefined {
  if (threshold === 0) return undefined;
  const least = metric === VectorField_Metric.L2 ? 0 : -1;
  if (threshold >= least && threshold <= 1) {
    return metric === VectorField_Metric.L2 ? 1 / threshold - 1 : 1 - threshold;
  }
  throw invalidField(
    "QUERY_INVALID",
    "similarity_threshold",
    `is ${threshold}; send ${least} to 1, or 0 for none`,
  );
}
