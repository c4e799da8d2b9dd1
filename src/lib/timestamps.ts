import type { Timestamp } from "@bufbuild/protobuf/wkt";

/** First and last second that a Timestamp can name, of Unix time: of the years 1 and 9999. */
export const timestampSecondsMin = -62_135_596_800n;
export const timestampSecondsMax = 253_402_300_799n;

/** The same in microseconds. */
export const timestampUsMin: bigint = timestampSecondsMin * 1_000_000n;
export const timestampUsMax: bigint = timestampSecondsMax * 1_000_000n + 999_999n;

/** In microseconds of Unix time; what is finer is left out. */
export function usOf({ seconds, nanos }: Pick<Timestamp, "seconds" | "nanos">): bigint {
  return seconds * 1_000_000n + BigInt(Math.floor(nanos / 1000));
}

/** Whether it names a moment. Another one has no form in JSON, so no answer with it can be sent. */
export function isMoment({ seconds, nanos }: Pick<Timestamp, "seconds" | "nanos">): boolean {
  const hasSeconds = seconds >= timestampSecondsMin && seconds <= timestampSecondsMax;
  return hasSeconds && nanos >= 0 && nanos <= 999_999_999;
}

/** Whether a Timestamp can name it. @param us microseconds of Unix time */
export function isMomentUs(us: bigint): boolean {
  return us >= timestampUsMin && us <= timestampUsMax;
}
