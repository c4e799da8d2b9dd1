import type { CollectorError } from "../../errors.ts";

/** Makes the error about one place of a request: it knows which argument that is, and where in it. */
export type Refuse = (
  reason: "QUERY_INVALID" | "FIELD_UNKNOWN",
  description: string,
) => CollectorError;
