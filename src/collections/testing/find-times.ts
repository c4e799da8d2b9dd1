/** Nanoseconds of Unix time. */
export function momentOf(text: string): bigint {
  const fraction = /\.(\d+)Z$/.exec(text)?.[1] ?? "";
  const seconds = BigInt(Date.parse(text.replace(/\.\d+Z$/, "Z"))) / 1000n;
  return seconds * 1_000_000_000n + BigInt(fraction.padEnd(9, "0"));
}

/** Nanoseconds of a duration. */
export function nanosOf(text: string): bigint {
  const [, sign = "", whole = "0", fraction = ""] = /^(-?)(\d+)(?:\.(\d+))?s$/.exec(text) ?? [];
  const nanos = BigInt(whole) * 1_000_000_000n + BigInt(fraction.padEnd(9, "0"));
  return sign === "-" ? -nanos : nanos;
}
