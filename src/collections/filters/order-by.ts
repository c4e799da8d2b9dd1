import type { DescMessage } from "@bufbuild/protobuf";
import { invalidField } from "../../errors.ts";
import type { Limits } from "../../lib/limits.ts";
import { quote } from "../../registry/names.ts";
import type { OrderKey, ValueSource } from "../../storage/record-query.ts";
import {
  type FieldTarget,
  type FilterTarget,
  resolveTarget,
  targetPath,
  valueSource,
} from "./filter-path.ts";
import type { Refuse } from "./refuse.ts";
import { characterAt } from "./syntax-problem.ts";
import { typeLabel } from "./value-types.ts";

export interface OrderOptions {
  readonly limits: Pick<Limits, "orderKeysMax" | "filterCharsMax">;
  /** The request's field; `order_by` if it is not given. */
  readonly argument?: string;
  /** Direction of keys that name none; ascending if it is not given. */
  readonly ascendingDefault?: boolean;
}

/** A path, in which names with odd characters stand in backticks, and a direction. */
const keyPattern = /^\s*((?:`(?:[^`]|``)+`|[^\s`])+)(?:\s+(\S+))?\s*$/;

/**
 * Reads an order as AIP-132 has it, as in `price_cents desc, title`. An empty text has no keys.
 *
 * @throws {CollectorError} QUERY_INVALID, FIELD_UNKNOWN naming the character where the mistake is.
 */
export function parseOrderBy(
  text: string,
  desc: DescMessage,
  { limits, argument = "order_by", ascendingDefault = true }: OrderOptions,
): OrderKey[] {
  if (text.trim() === "") return [];
  if (text.length > limits.filterCharsMax) {
    throw invalidField(
      "QUERY_INVALID",
      argument,
      `has ${text.length} characters, the limit is ${limits.filterCharsMax}`,
    );
  }
  const keys: OrderKey[] = [];
  const paths = new Set<string>();
  for (const { part, at } of splitKeys(text)) {
    const character = characterAt(text, at + (part.length - part.trimStart().length));
    const refuse: Refuse = (reason, description) =>
      invalidField(reason, argument, `at character ${character}: ${description}`);
    if (keys.length === limits.orderKeysMax) {
      throw refuse("QUERY_INVALID", `there are over ${limits.orderKeysMax} keys, the limit`);
    }
    const [path, descending] = readKey(part, ascendingDefault, refuse);
    const target = resolveTarget(desc, path, refuse);
    const name = targetPath(target);
    if (paths.has(name)) throw refuse("QUERY_INVALID", `${quote(name)} is there twice`);
    paths.add(name);
    keys.push({ source: orderSource(target, refuse), descending });
  }
  return keys;
}

/** Commas inside backticks belong to a key of a map. */
function* splitKeys(text: string): Iterable<{ readonly part: string; readonly at: number }> {
  let start = 0;
  let isQuoted = false;
  for (let at = 0; at < text.length; at += 1) {
    const char = text.charAt(at);
    if (char === "`") isQuoted = !isQuoted;
    if (char !== "," || isQuoted) continue;
    yield { part: text.slice(start, at), at: start };
    start = at + 1;
  }
  yield { part: text.slice(start), at: start };
}

function readKey(part: string, ascendingDefault: boolean, refuse: Refuse): [string, boolean] {
  const match = keyPattern.exec(part);
  const direction = match?.[2]?.toLowerCase() ?? (ascendingDefault ? "asc" : "desc");
  if (match === null || (direction !== "asc" && direction !== "desc")) {
    const found = part.trim() === "" ? "nothing" : quote(part.trim());
    throw refuse("QUERY_INVALID", `${found} is no key; send a path, then asc or desc if you like`);
  }
  return [match[1] ?? "", direction === "desc"];
}

function orderSource(target: FilterTarget, refuse: Refuse): ValueSource {
  if (target.kind === "labels") {
    throw refuse("QUERY_INVALID", "labels have no order; name a key, as in @labels.team");
  }
  if (target.kind === "meta") return { kind: "meta", name: target.name };
  if (target.kind === "label") return { kind: "label", key: target.key };
  const why = whyNoOrder(target);
  if (why === undefined) return valueSource(target);
  const path = quote(targetPath(target));
  throw refuse("QUERY_INVALID", `records cannot be sorted by ${path}: ${why}`);
}

function whyNoOrder({ type, shape, steps }: FieldTarget): string | undefined {
  if (shape === "map") return "it is a map; name a key in it";
  if (shape === "list") return "it is repeated";
  if (type.kind === "message" || type.kind === "object") {
    return `it is ${typeLabel(type)}; name a field in it`;
  }
  // JSON is let through: what has many values there is sorted by the first.
  return steps.some(({ kind }) => kind === "items")
    ? "the path goes through a repeated field"
    : undefined;
}
