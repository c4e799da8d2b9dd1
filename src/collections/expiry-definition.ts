import { create, type DescMessage } from "@bufbuild/protobuf";
import type { Duration } from "@bufbuild/protobuf/wkt";
import { invalidField } from "../errors.ts";
import { type Collection, type Expiry, ExpirySchema } from "../gen/collector/collection_pb.ts";
import { quote } from "../registry/names.ts";
import type { ExpirySource } from "./derive/derive-plan.ts";
import { definitionPath, leadsToMany, suggestFields } from "./value-paths.ts";

/** Longest time to live, in seconds: 10,000 years, as a Duration can be. */
const timeToLiveMaxS = 315_576_000_000n;
const nanosPerSecond = 1_000_000_000;

/**
 * Checks when records shall expire.
 *
 * @param argument the request's field that holds it, as in `collection.expiry`.
 * @returns the same with proto names.
 * @throws {CollectorError} ARGUMENT_INVALID, ARGUMENT_MISSING, FIELD_UNKNOWN
 */
export function checkExpiry(
  desc: DescMessage,
  given: Expiry | undefined,
  argument: string,
): Expiry | undefined {
  if (given === undefined) return undefined;
  const { when } = given;
  if (when.case === "timestampField") {
    const value = timestampPath(desc, when.value, `${argument}.timestamp_field`);
    return create(ExpirySchema, { when: { case: "timestampField", value } });
  }
  if (when.case === "timeToLive") {
    checkTimeToLive(when.value, `${argument}.time_to_live`);
    return create(ExpirySchema, { when });
  }
  throw invalidField("ARGUMENT_MISSING", argument, "needs timestamp_field or time_to_live");
}

function timestampPath(desc: DescMessage, given: string, argument: string): string {
  if (given === "") throw invalidField("ARGUMENT_MISSING", argument, "names no field");
  const { steps, path } = definitionPath(desc, given, argument);
  const isTimestamp = steps.at(-1)?.field.message?.typeName === "google.protobuf.Timestamp";
  if (isTimestamp && !leadsToMany(steps)) return path;
  const near = suggestFields(
    desc,
    given,
    ({ type, repeated, map }) => type === "google.protobuf.Timestamp" && !repeated && !map,
  );
  const why = isTimestamp
    ? "a record can have several of it"
    : "it is no google.protobuf.Timestamp";
  throw invalidField("ARGUMENT_INVALID", argument, `${quote(path)} cannot be used: ${why}${near}`);
}

function checkTimeToLive({ seconds, nanos }: Duration, argument: string): void {
  const isDuration = nanos >= 0 && nanos < nanosPerSecond && seconds <= timeToLiveMaxS;
  if (isDuration && seconds >= 1n) return;
  throw invalidField("ARGUMENT_INVALID", argument, "send 1s to 315576000000s (10,000 years)");
}

/** When records of a collection expire; undefined: never. */
export function expirySourceOf({ expiry }: Pick<Collection, "expiry">): ExpirySource | undefined {
  if (expiry?.when.case === "timestampField") {
    return { kind: "timestamp", path: expiry.when.value };
  }
  if (expiry?.when.case !== "timeToLive") return undefined;
  const { seconds, nanos } = expiry.when.value;
  return { kind: "timeToLive", us: seconds * 1_000_000n + BigInt(Math.ceil(nanos / 1000)) };
}

export function isSameExpiry(
  one: ExpirySource | undefined,
  other: ExpirySource | undefined,
): boolean {
  if (one?.kind === "timestamp") return other?.kind === "timestamp" && one.path === other.path;
  if (one?.kind === "timeToLive") return other?.kind === "timeToLive" && one.us === other.us;
  return other === undefined;
}
