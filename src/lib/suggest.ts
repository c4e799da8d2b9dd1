/** How many names a suggestion holds at most. */
export const suggestionsMax = 3;

/** Names longer than this are not compared: the cost grows with the square of the length. */
const comparedCharsMax = 128;

/** At most this many candidates are compared, so that a miss stays cheap in a big namespace. */
const comparedMax = 5000;

/**
 * The candidates that a misspelt name may have meant, the nearest first; the last segments of dotted
 * names count as well as the whole. Empty if none is near.
 */
export function nearest(name: string, candidates: Iterable<string>): string[] {
  if (name === "" || name.length > comparedCharsMax) return [];
  const wanted = name.toLowerCase();
  const wantedTail = lastSegment(wanted);
  const tolerance = Math.max(1, Math.floor(wantedTail.length / 3));
  const found: { candidate: string; distance: number; whole: number }[] = [];
  let compared = 0;
  for (const candidate of candidates) {
    compared += 1;
    if (compared > comparedMax) break;
    const whole = candidate.toLowerCase();
    const distance = Math.min(
      editDistance(wanted, whole, tolerance),
      editDistance(wantedTail, lastSegment(whole), tolerance),
    );
    if (distance === Number.POSITIVE_INFINITY) continue;
    found.push({ candidate, distance, whole: editDistance(wanted, whole, comparedCharsMax) });
  }
  // Among names that end alike, the one that begins alike comes first.
  found.sort(
    (a, b) => a.distance - b.distance || a.whole - b.whole || (a.candidate < b.candidate ? -1 : 1),
  );
  return found.slice(0, suggestionsMax).map((entry) => entry.candidate);
}

/** A sentence to append to a message, as in `; did you mean shop.v1.Product?`, or nothing. */
export function didYouMean(name: string, candidates: Iterable<string>): string {
  const names = nearest(name, candidates);
  return names.length === 0 ? "" : `; did you mean ${names.join(" or ")}?`;
}

function lastSegment(name: string): string {
  return name.slice(name.lastIndexOf(".") + 1);
}

/**
 * How many letters to add, take out, replace, or swap with the next one: the optimal string
 * alignment distance. Infinity as soon as it is known to be over `max`.
 */
function editDistance(a: string, b: string, max: number): number {
  if (Math.abs(a.length - b.length) > max) return Number.POSITIVE_INFINITY;
  let beforePrevious: readonly number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index);
  let previousBest = 0;
  for (let i = 1; i <= a.length; i += 1) {
    const current = [i];
    let best = i;
    for (let j = 1; j <= b.length; j += 1) {
      const cost = a.charCodeAt(i - 1) === b.charCodeAt(j - 1) ? 0 : 1;
      let value = Math.min(
        (previous[j] ?? 0) + 1,
        (current[j - 1] ?? 0) + 1,
        (previous[j - 1] ?? 0) + cost,
      );
      if (isSwap(a, i, b, j)) value = Math.min(value, (beforePrevious[j - 2] ?? 0) + 1);
      current.push(value);
      best = Math.min(best, value);
    }
    // The next row may go on from this one, or by a swap from the one before.
    if (Math.min(best, previousBest + 1) > max) return Number.POSITIVE_INFINITY;
    beforePrevious = previous;
    previous = current;
    previousBest = best;
  }
  const distance = previous[b.length] ?? 0;
  return distance > max ? Number.POSITIVE_INFINITY : distance;
}

/** Whether the two letters that end at `i` in `a` end at `j` in `b` the other way round. */
function isSwap(a: string, i: number, b: string, j: number): boolean {
  return (
    i > 1 &&
    j > 1 &&
    a.charCodeAt(i - 1) === b.charCodeAt(j - 2) &&
    a.charCodeAt(i - 2) === b.charCodeAt(j - 1)
  );
}
