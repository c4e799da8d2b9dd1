import type { LongCallOptions } from "../client/long-call.ts";
import type { CliEnvironment } from "./context.ts";
import { Progress } from "./progress.ts";

/**
 * Runs a long call: with a bar if there is a terminal, and so that Ctrl-C cancels the work itself.
 *
 * @param label as in `backing up products`
 */
export async function longWork<T>(
  label: string,
  { stderr, signal }: CliEnvironment,
  call: (options: LongCallOptions) => Promise<T>,
): Promise<T> {
  // Without a terminal nobody looks, and then the server is asked less often.
  if (!stderr.isTTY) return await call({ signal });
  using progress = new Progress({ label, total: undefined, stream: stderr, format: undefined });
  return await call({
    signal,
    onProgress: ({ phase, done, total }) => {
      const doing = phase === "" ? label : `${label}: ${phase}`;
      progress.set(doing, Number(done), total === 0n ? undefined : Number(total));
    },
  });
}
