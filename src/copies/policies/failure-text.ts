import { CollectorError } from "../../errors.ts";
import type { Log } from "../../lib/log.ts";

const charsMax = 300;

/** A failure as a record tells it to everybody: what is none of a caller's business is in the log. */
export function tellOf(error: unknown, log: Log): string {
  if (error instanceof CollectorError) return error.message.slice(0, charsMax);
  log.error({ err: error }, "a backup policy met with an unexpected failure");
  return "the server failed; its log has the details";
}
