import type { Log } from "../../lib/log.ts";
import type { RemoteCollector } from "./remote-collector.ts";

/** How long it may take to tell the other side that a transfer is over. */
const farewellMs = 5000;

/** Lets the other side remove what it has staged now. It would do so by itself, later. */
export async function sayFarewell(
  remote: RemoteCollector,
  transferId: string,
  log: Log,
): Promise<void> {
  try {
    await remote.abandonTransfer(transferId, AbortSignal.timeout(farewellMs));
  } catch (error) {
    log.debug({ err: error, transfer: transferId }, "a transfer will be forgotten by itself");
  }
}
