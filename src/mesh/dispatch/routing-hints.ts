import { invalidField } from "../../errors.ts";
import type { RouteWish } from "../router.ts";

const labelPrefix = "match.";

/** Longest sticky key, in UTF-16 code units. */
const keyCharsMax = 512;

/**
 * Reads the wishes of a caller: `prefer` is `local` or `remote`, `sticky` a key whose calls go to the
 * same executor, `match.<label>` a label that the executor must have. Others are ignored.
 *
 * @throws {CollectorError} ARGUMENT_INVALID
 */
export function readHints(hints: Readonly<Record<string, string>>): RouteWish {
  const { prefer, sticky } = hints;
  if (prefer !== undefined && prefer !== "local" && prefer !== "remote") {
    throw invalidField("ARGUMENT_INVALID", "routing_hints.prefer", "must be local or remote");
  }
  if (sticky !== undefined && sticky.length > keyCharsMax) {
    throw invalidField(
      "ARGUMENT_INVALID",
      "routing_hints.sticky",
      `has ${sticky.length} characters, the limit is ${keyCharsMax}`,
    );
  }
  const labels = Object.entries(hints)
    .filter(([name]) => name.startsWith(labelPrefix))
    .map(([name, value]) => [name.slice(labelPrefix.length), value] as const);
  return {
    ...(prefer === undefined ? {} : { prefer }),
    ...(sticky === undefined || sticky === "" ? {} : { sticky }),
    ...(labels.length === 0 ? {} : { labels: Object.fromEntries(labels) }),
  };
}
