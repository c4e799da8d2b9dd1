import type { RecordStore, Write, WriteOutcome } from "../../storage/record-store.ts";
import type { WriteTap } from "../record-writer.ts";
import type { ChangeFeed } from "./change-feed.ts";
import { SharedResponse } from "./shared-response.ts";
import type { Watches } from "./watches.ts";

export interface WatchPointOptions {
  readonly watches: Watches;
  readonly store: RecordStore;
  /** Whether all writes are noted here. */
  readonly isTapped: boolean;
}

/** Where a collection can be watched: costs nothing while nobody does. */
export class WatchPoint implements WriteTap {
  readonly watches: Watches;
  /** What was last told, which others may be about to be told too. */
  readonly shared: SharedResponse = new SharedResponse();
  readonly #options: WatchPointOptions;
  #feed: ChangeFeed | undefined;
  /** Watches that have entered and not left. */
  #count = 0;

  constructor(options: WatchPointOptions) {
    this.watches = options.watches;
    this.#options = options;
  }

  wantsBefore(): boolean {
    return this.#feed?.wantsBefore() ?? false;
  }

  note(write: Write, outcome: WriteOutcome): void {
    this.#feed?.note(write, outcome);
  }

  /** The feed of the collection, which is kept until whoever asked has called {@link leave}. */
  enter(): ChangeFeed {
    this.#count += 1;
    this.#feed ??= this.watches.openFeed(this.#options);
    return this.#feed;
  }

  leave(): void {
    this.#count -= 1;
    if (this.#count > 0 || this.#feed === undefined) return;
    this.watches.closeFeed(this.#feed);
    this.#feed = undefined;
  }

  /** Ends all watches of the collection. */
  end(failure: Error): void {
    this.#feed?.end(failure);
  }
}
