const unitUs: Readonly<Record<string, bigint>> = {
  s: 1_000_000n,
  m: 60_000_000n,
  h: 3_600_000_000n,
  d: 86_400_000_000n,
  w: 604_800_000_000n,
};

/** The key in the metadata of a backup that says how long it is to be kept. */
export const retentionKey = "retention";

/** What a retention looks like, for messages. */
export const retentionForm = "a number and a unit: s, m (minutes), h, d or w, as in `30d`";

/**
 * Reads a retention such as `30d`, `12h` or `4w`.
 *
 * @returns microseconds; undefined if the text is none. Then the backup it is on is kept.
 */
export function readRetention(text: string): bigint | undefined {
  const [, digits = "", unit = ""] = /^([1-9]\d{0,5})([smhdw])$/.exec(text) ?? [];
  const each = unitUs[unit];
  return each === undefined ? undefined : BigInt(digits) * each;
}
