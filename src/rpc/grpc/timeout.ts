import { CollectorError } from "../../errors.ts";

const msByUnit: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1000,
  m: 1,
  u: 1e-3,
  n: 1e-6,
};

/**
 * Milliseconds of a `grpc-timeout`, as in `250m`.
 *
 * @throws {CollectorError} METADATA_INVALID
 */
export function parseTimeout(value: string): number {
  const unitMs = msByUnit[value.slice(-1)];
  const digits = value.slice(0, -1);
  if (unitMs === undefined || !/^[0-9]{1,8}$/.test(digits)) {
    throw new CollectorError(
      "METADATA_INVALID",
      "grpc-timeout: must be 1 to 8 digits and a unit of H, M, S, m, u or n, as in 250m",
    );
  }
  return Number(digits) * unitMs;
}

/** The `grpc-timeout` of a duration, rounded up to whole milliseconds; never more than 8 digits. */
export function formatTimeout(durationMs: number): string {
  const ms = Math.max(0, Math.ceil(durationMs));
  if (ms < 1e8) return `${ms}m`;
  const seconds = Math.ceil(ms / 1000);
  return seconds < 1e8 ? `${seconds}S` : `${Math.min(99_999_999, Math.ceil(seconds / 3600))}H`;
}
