import type { DescMessage, JsonValue } from "@bufbuild/protobuf";
import { invalidField } from "../../errors.ts";
import { didYouMean } from "../../lib/suggest.ts";
import { quote } from "../../registry/names.ts";
import type { FacetCounts, FacetQuery } from "../../storage/record-query.ts";
import { resolveTarget, valueSource } from "./filter-path.ts";
import type { ValueType } from "./value-types.ts";

/** A facet that a search asks for, and how to answer it. */
export interface Facet {
  readonly query: FacetQuery;
  /** A value as the storage answers it, as JSON. */
  readonly toJson: (value: FacetCounts["values"][number]["value"]) => JsonValue;
}

/**
 * Reads the path of a facet: a field with an index.
 *
 * @param indexed the paths that have an index which is ready.
 * @throws {CollectorError} FIELD_UNKNOWN; QUERY_INVALID if the field is not indexed.
 */
export function readFacet(
  path: string,
  desc: DescMessage,
  options: {
    readonly indexed: readonly string[];
    readonly valuesMax: number;
    readonly argument: string;
  },
): Facet {
  const { indexed, valuesMax, argument } = options;
  const target = resolveTarget(desc, path, (reason, description) =>
    invalidField(reason, argument, description),
  );
  if (target.kind !== "field" || target.index === undefined || !indexed.includes(target.index)) {
    const valid = indexed.length === 0 ? "no field is" : `there are ${indexed.join(", ")}`;
    throw invalidField(
      "QUERY_INVALID",
      argument,
      `${quote(path)} is not indexed, so its values cannot be counted${didYouMean(path, indexed) || `; ${valid}`}`,
    );
  }
  const { type, index } = target;
  return {
    query: { index, source: valueSource(target), limit: valuesMax },
    toJson: (value) => valueJson(type, value),
  };
}

/** The JSON of a value from its form in documents. */
export function valueJson(type: ValueType, value: bigint | number | string): JsonValue {
  switch (type.kind) {
    case "integer": {
      const integer = type.isUint64 ? BigInt(value) + (1n << 63n) : BigInt(value);
      const number = Number(integer);
      return Number.isSafeInteger(number) ? number : String(integer);
    }
    case "bool":
      return Number(value) !== 0;
    case "enum": {
      const found = type.desc.values.find(({ number }) => number === Number(value));
      return found?.name ?? Number(value);
    }
    case "bytes":
      // Of long bytes the form is only the beginning.
      return Buffer.from(String(value).split("~", 1)[0] ?? "", "hex").toString("base64");
    case "duration":
      return durationJson(BigInt(value));
    case "timestamp":
      return String(value).replace(/\.?0+Z$/, "Z");
    default:
      return typeof value === "string" ? value : finite(Number(value));
  }
}

function finite(value: number): JsonValue {
  return Number.isFinite(value) ? value : String(value);
}

function durationJson(nanos: bigint): string {
  const size = nanos < 0n ? -nanos : nanos;
  const fraction = String(size % 1_000_000_000n)
    .padStart(9, "0")
    .replace(/0+$/, "");
  const seconds = `${nanos < 0n ? "-" : ""}${size / 1_000_000_000n}`;
  return fraction === "" ? `${seconds}s` : `${seconds}.${fraction}s`;
}
