/** What is asked of a resource besides itself. */
export interface Conditions {
  readonly ifNoneMatch: string | undefined;
  readonly ifModifiedSince: string | undefined;
  readonly ifRange: string | undefined;
  readonly range: string | undefined;
}

/** A resource as conditions see it. */
export interface Representation {
  /** Strong, in quotes. */
  readonly etag: string;
  /** Whole seconds of Unix time. */
  readonly modifiedS: bigint;
  readonly sizeBytes: bigint;
}

/** Part of a resource: both ends are in it. */
export interface ByteRange {
  readonly first: bigint;
  readonly last: bigint;
}

/** Longest `Range` and `If-None-Match` that are looked at, in characters. */
const headerCharsMax = 8192;

/** Whether the caller has the resource already: 304. */
export function isUnchanged(conditions: Conditions, found: Representation): boolean {
  const { ifNoneMatch, ifModifiedSince } = conditions;
  if (ifNoneMatch !== undefined) {
    if (ifNoneMatch.length > headerCharsMax) return false;
    return ifNoneMatch
      .split(",")
      .some((tag) => tag.trim() === "*" || tag.trim().replace(/^W\//, "") === found.etag);
  }
  if (ifModifiedSince === undefined) return false;
  const sinceMs = Date.parse(ifModifiedSince);
  return !Number.isNaN(sinceMs) && Number(found.modifiedS) * 1000 <= sinceMs;
}

/**
 * The part that is asked for; undefined for all of it, which is also the answer to several parts and
 * to what is no range.
 *
 * @returns `unsatisfiable` if nothing of the resource is in the range: 416
 */
export function rangeOf(
  conditions: Conditions,
  found: Representation,
): ByteRange | "unsatisfiable" | undefined {
  const { range, ifRange } = conditions;
  if (range === undefined || !rangeApplies(ifRange, found)) return undefined;
  const match = /^bytes=[ \t]*(\d{0,19})-(\d{0,19})[ \t]*$/i.exec(range.slice(0, headerCharsMax));
  const [, from = "", to = ""] = match ?? [];
  if (match === null || (from === "" && to === "")) return undefined;
  const end = found.sizeBytes - 1n;
  if (from === "") {
    const length = BigInt(to);
    if (length === 0n || found.sizeBytes === 0n) return "unsatisfiable";
    return { first: length > found.sizeBytes ? 0n : found.sizeBytes - length, last: end };
  }
  const first = BigInt(from);
  if (to !== "" && BigInt(to) < first) return undefined;
  if (first > end) return "unsatisfiable";
  const last = to === "" || BigInt(to) > end ? end : BigInt(to);
  return { first, last };
}

/** A range of something else than the caller has a part of would not fit to that part. */
function rangeApplies(ifRange: string | undefined, found: Representation): boolean {
  if (ifRange === undefined) return true;
  const text = ifRange.trim();
  if (text.startsWith('"') || text.startsWith("W/")) return text === found.etag;
  return Date.parse(text) === Number(found.modifiedS) * 1000;
}
