/** How the versions of a file at one collector stand to those at another one. */
export type HistoryRelation =
  /** The same version is in force. */
  | { readonly kind: "same" }
  /** What is in force here is an earlier version there: these came after it. */
  | { readonly kind: "behind"; readonly missing: readonly string[] }
  /** What is in force there is an earlier version here. */
  | { readonly kind: "ahead" }
  /** Neither knows what the other one has in force, or each has come to the other one's by a way of its own. */
  | { readonly kind: "diverged" };

/**
 * Compares versions by their hashes, the oldest first. Asked at the other end with the sides exchanged, it
 * says the opposite, so that of two collectors one at most follows the other.
 */
export function compareHistories(
  ours: readonly string[],
  theirs: readonly string[],
): HistoryRelation {
  const [our, their] = [ours.at(-1), theirs.at(-1)];
  if (our === their) return { kind: "same" };
  if (their === undefined) return { kind: "ahead" };
  if (our === undefined) return { kind: "behind", missing: theirs };
  const at = theirs.lastIndexOf(our);
  const isKnown = ours.includes(their);
  if (at < 0) return { kind: isKnown ? "ahead" : "diverged" };
  if (!isKnown) return { kind: "behind", missing: theirs.slice(at + 1) };
  // A content that comes back: whoever has gone all the other one's way is ahead.
  if (startsWith(theirs, ours)) return { kind: "behind", missing: theirs.slice(ours.length) };
  if (startsWith(ours, theirs)) return { kind: "ahead" };
  return { kind: "diverged" };
}

function startsWith(whole: readonly string[], beginning: readonly string[]): boolean {
  return beginning.length <= whole.length && beginning.every((hash, at) => hash === whole[at]);
}
