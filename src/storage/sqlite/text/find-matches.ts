import { countCap, type NearMatch } from "../../record-query.ts";
import { counted } from "../query/query-run.ts";
import { facetMatchesMax } from "./facets.ts";
import {
  type Found,
  type FoundHit,
  noMatches,
  type SearchScope,
  unscored,
  type WantedText,
} from "./found.ts";
import { fusedMin, fuseRanks } from "./fusing.ts";
import { distancesOf, nearest, similarityOf } from "./near-matches.ts";
import { readyVectorIndex } from "./ready-indexes.ts";
import { canWalk, sortedSeqs, walkedMin, walkedSeqs } from "./sorted-seqs.ts";
import { countText, newestSeqs, type TextMatches, textMatches } from "./text-matches.ts";
import { noText, rankText, scoresOf, seqList } from "./text-ranking.ts";

/** Matches that are sorted by fields; of more, the newest. */
const sortedMax = 200_000;
/** Nearest records that are sorted by fields, or whose values are counted. */
const nearMax: number = countCap;

const nothing: Found = {
  hits: [],
  count: 0,
  countCapped: false,
  approximate: false,
  matches: { seqs: seqList([]), count: 0, approximate: false },
  rowsVisited: 0,
};

/** @param wanted undefined if there is no word to search for. */
export function findByText(scope: SearchScope, wanted: WantedText | undefined): Found {
  if (wanted === undefined) return nothing;
  const matches = matchesOf(scope, wanted);
  if ((scope.query.order?.length ?? 0) > 0) return sortText(scope, wanted, matches);
  const { hits, ranked, count, approximate } = rankText(scope.db, matches, scope.query);
  scope.log.step(
    approximate
      ? `ranked the newest ${ranked} of the records whose text matches`
      : `ranked ${counted(ranked, "record")} whose text matches`,
  );
  return {
    hits: hits.map(({ seq, score }) => ({ seq, score, textScore: score, distance: undefined })),
    count,
    countCapped: approximate,
    approximate,
    matches: textFacets(scope, matches, count, approximate),
    rowsVisited: Math.max(count, ranked),
  };
}

export function findByVector(scope: SearchScope, near: NearMatch): Found {
  const { db, query, where, context, log } = scope;
  const { definition } = readyVectorIndex(db, near.vector);
  const needsAll = hasOrder(scope) || hasFacets(scope);
  const end = query.offset + query.limit;
  const result = nearest({ db, near, where, context }, needsAll ? Math.max(end, nearMax) : end);
  log.step(`compared ${counted(result.visited, "vector")} with the point`);
  const isAll = result.hits.length >= result.count;
  const hits = result.hits.map(({ seq, distance }) => ({
    seq,
    score: similarityOf(definition, distance),
    textScore: undefined,
    distance,
  }));
  return {
    hits: pageOf(scope, hits),
    count: result.count,
    countCapped: result.count > countCap,
    approximate: hasOrder(scope) && !isAll,
    matches: {
      seqs: seqList(result.hits.map(({ seq }) => seq)),
      count: result.hits.length,
      approximate: !isAll,
    },
    rowsVisited: result.visited,
  };
}

export function findByBoth(
  scope: SearchScope,
  wanted: WantedText | undefined,
  near: NearMatch,
): Found {
  const { db, query, where, context, log } = scope;
  const needsAll = hasOrder(scope) || hasFacets(scope);
  const most = Math.max(query.offset + query.limit, needsAll ? nearMax : fusedMin);
  const matches = wanted && matchesOf(scope, wanted);
  const text = matches === undefined ? noText : rankText(db, matches, { limit: most, offset: 0 });
  const byVector = { db, near, where, context };
  const { hits: nearHits, count: nearCount, visited } = nearest(byVector, most);
  log.step(`ranked ${counted(text.ranked, "record")} whose text matches`);
  log.step(`compared ${counted(visited, "vector")} with the point`);
  const fused = fuseRanks([text.hits, nearHits]);
  log.step(`fused the best ${text.hits.length} by text and ${nearHits.length} by nearness`);
  const textScores = new Map(text.hits.map(({ seq, score }) => [seq, score]));
  const distances = new Map(nearHits.map(({ seq, distance }) => [seq, distance]));
  const isAll = text.hits.length >= text.count && nearHits.length >= nearCount;
  const page = pageOf(
    scope,
    fused.map(({ seq, score }) => ({ ...unscored(seq), score })),
  );
  // What is high up in one ranking may be far down in the other, and is then looked up.
  const unread = page.map(({ seq }) => seq).filter((seq) => !textScores.has(seq));
  const unmeasured = page.map(({ seq }) => seq).filter((seq) => !distances.has(seq));
  const moreScores =
    wanted === undefined || unread.length === 0 || text.hits.length >= text.count
      ? undefined
      : scoresOf({ db, ...wanted }, unread);
  const moreDistances =
    unmeasured.length === 0 || nearHits.length >= nearCount
      ? undefined
      : distancesOf(byVector, unmeasured);
  return {
    hits: page.map(({ seq, score }) => ({
      seq,
      score,
      textScore: textScores.get(seq) ?? moreScores?.get(seq),
      distance: distances.get(seq) ?? moreDistances?.get(seq),
    })),
    count: isAll ? fused.length : Math.max(text.count, nearCount, fused.length),
    countCapped: !isAll,
    approximate: text.approximate || (hasOrder(scope) && !isAll),
    matches: {
      seqs: seqList(fused.map(({ seq }) => seq)),
      count: fused.length,
      approximate: !isAll,
    },
    rowsVisited: visited + text.count,
  };
}

function matchesOf({ db, where, context, log }: SearchScope, wanted: WantedText): TextMatches {
  const matches = textMatches({ db, ...wanted, where, context });
  log.useIndexes(matches.indexes);
  log.step("went through the records whose text matches, by the text index");
  if (matches.filter !== undefined) log.step(`checked each against the filter, ${matches.filter}`);
  return matches;
}

function sortText(scope: SearchScope, wanted: WantedText, matches: TextMatches): Found {
  const { db, query, context, log } = scope;
  const order = query.order ?? [];
  const input = { db, order, context, limit: query.limit, offset: query.offset };
  const found = countText(db, matches, sortedMax + 1);
  const walks = found > walkedMin && canWalk(input);
  const approximate = !walks && found > sortedMax;
  const seqs = walks
    ? walkedSeqs(input, newestSeqs(matches, undefined))
    : sortedSeqs(input, newestSeqs(matches, sortedMax));
  log.step(
    walks
      ? "went along the index of the order and took what matches"
      : `sorted ${counted(Math.min(found, sortedMax), "record")}`,
  );
  const scores = seqs.length === 0 ? undefined : scoresOf({ db, ...wanted }, seqs);
  const hits = seqs.map((seq) => {
    const score = scores?.get(seq);
    return { seq, score: score ?? 0, textScore: score, distance: undefined };
  });
  return {
    hits,
    count: found,
    countCapped: found > countCap,
    approximate,
    matches: textFacets(scope, matches, found, approximate),
    rowsVisited: found,
  };
}

/** The page of hits that are known all, in the order that was asked for. */
function pageOf(scope: SearchScope, hits: readonly FoundHit[]): readonly FoundHit[] {
  const { db, query, context } = scope;
  const { order, limit, offset } = query;
  if (order === undefined || order.length === 0) return hits.slice(offset, offset + limit);
  const bySeq = new Map(hits.map((hit) => [hit.seq, hit]));
  const seqs = sortedSeqs({ db, order, context, limit, offset }, seqList([...bySeq.keys()]));
  scope.log.step(`sorted ${counted(hits.length, "record")}`);
  return seqs.map((seq) => bySeq.get(seq) ?? unscored(seq));
}

function textFacets(
  scope: SearchScope,
  matches: TextMatches,
  count: number,
  isMore: boolean,
): Found["matches"] {
  if (!hasFacets(scope)) return noMatches;
  // What was counted is all there is, unless the counting stopped there.
  const known = isMore ? countText(scope.db, matches, facetMatchesMax + 1) : count;
  return {
    seqs: newestSeqs(matches, facetMatchesMax),
    count: known,
    approximate: known > facetMatchesMax,
  };
}

function hasOrder({ query }: SearchScope): boolean {
  return (query.order?.length ?? 0) > 0;
}

function hasFacets({ query }: SearchScope): boolean {
  return (query.facets?.length ?? 0) > 0;
}
