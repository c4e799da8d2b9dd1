import { CollectorError } from "../../errors.ts";
import type { Log } from "../../lib/log.ts";
import type { CopyRun } from "../copy-parts.ts";

/**
 * Does one of many things whose failure must not end the others. A cancel does end them: then it throws.
 *
 * @returns what `work` returns, or what it failed with
 */
export async function attempt<T>(
  { signal }: CopyRun,
  log: Log,
  work: () => Promise<T>,
): Promise<T | CollectorError> {
  signal.throwIfAborted();
  try {
    return await work();
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    if (error instanceof CollectorError) return error;
    log.error({ err: error }, "one of several copies failed");
    return new CollectorError("INTERNAL", "the server failed; its log has the details", {
      cause: error,
    });
  }
}
