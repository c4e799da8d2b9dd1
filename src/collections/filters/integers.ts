/** An integer written in decimal; undefined for anything else. */
export function parseInteger(text: string): bigint | undefined {
  return /^-?\d{1,40}$/.test(text) ? BigInt(text) : undefined;
}

export function isInRange(
  value: bigint,
  { min, max }: { readonly min: bigint; readonly max: bigint },
): boolean {
  return value >= min && value <= max;
}
