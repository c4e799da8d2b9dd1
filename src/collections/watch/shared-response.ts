import type { WatchResponse } from "../../gen/collector/record_streams_pb.ts";
import type { EventBatch } from "./watcher.ts";

interface Made {
  readonly batch: EventBatch;
  readonly idsOnly: boolean;
  readonly response: WatchResponse;
}

/**
 * The last response that was made of a batch. Watches with the same filter are woken together and take
 * the same events: one message is made, and encoded, for all of them. It is forgotten when the turn of
 * the event loop is over.
 */
export class SharedResponse {
  #made: Made | undefined;

  get(
    batch: EventBatch,
    idsOnly: boolean,
    make: (batch: EventBatch) => WatchResponse,
  ): WatchResponse {
    const made = this.#made;
    if (made !== undefined && made.idsOnly === idsOnly && isSame(made.batch, batch)) {
      return made.response;
    }
    const response = make(batch);
    if (made === undefined) setImmediate(() => (this.#made = undefined));
    this.#made = { batch, idsOnly, response };
    return response;
  }
}

function isSame(one: EventBatch, other: EventBatch): boolean {
  const { events } = one;
  if (one.revision !== other.revision || events.length !== other.events.length) return false;
  return events.every((event, index) => event === other.events[index]);
}
