/** A record's places count as `1 / (fusionConstant + place)`, the first place being 1. */
const fusionConstant = 60;

/** Best matches of each way to rank that are fused, or as many as the page needs. */
export const fusedMin = 1000;

export interface Fused {
  readonly seq: bigint;
  readonly score: number;
}

/**
 * Reciprocal rank fusion: what is high up in several rankings comes first, whatever their scores mean.
 *
 * @returns the best first; of equal score, in order of creation.
 */
export function fuseRanks(rankings: readonly (readonly { readonly seq: bigint }[])[]): Fused[] {
  const scores = new Map<bigint, number>();
  for (const ranking of rankings) {
    for (const [at, { seq }] of ranking.entries()) {
      scores.set(seq, (scores.get(seq) ?? 0) + 1 / (fusionConstant + at + 1));
    }
  }
  return Array.from(scores, ([seq, score]) => ({ seq, score })).sort(
    (a, b) => b.score - a.score || (a.seq < b.seq ? -1 : 1),
  );
}
