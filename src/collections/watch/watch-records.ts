import type { Collection } from "../../gen/collector/collection_pb.ts";
import {
  type Change,
  Change_Kind,
  type WatchRequest,
  type WatchResponse,
} from "../../gen/collector/record_streams_pb.ts";
import type { Condition } from "../../storage/record-query.ts";
import { anyOf, recordMeta } from "../record-answers.ts";
import type { FeedEvent } from "./feed-event.ts";
import { decodeResumeToken, encodeResumeToken } from "./resume-token.ts";
import type { WatchPoint } from "./watch-point.ts";
import { Watcher } from "./watcher.ts";

export interface WatchScope {
  readonly point: WatchPoint;
  readonly definition: Collection;
  readonly typeUrl: string;
  readonly condition: Condition;
  /** Most bytes of records in one message, about; a larger record comes alone. */
  readonly batchBytesMax: number;
  readonly signal: AbortSignal;
}

const kinds: Readonly<Record<FeedEvent["kind"], Change_Kind>> = {
  created: Change_Kind.CREATED,
  updated: Change_Kind.UPDATED,
  deleted: Change_Kind.DELETED,
  left: Change_Kind.LEFT,
};

/**
 * Watches a collection until `signal` fires. The first message has no changes; it comes when nothing
 * that happens after its token is missed.
 *
 * @throws {CollectorError} while it is read: ARGUMENT_INVALID, HISTORY_GONE; OVERLOADED for too many
 * watches; COLLECTION_NOT_FOUND once the collection is deleted; SHUTTING_DOWN
 */
export async function* watchRecords(
  request: Pick<WatchRequest, "resumeToken" | "idsOnly">,
  scope: WatchScope,
): AsyncGenerator<WatchResponse> {
  const { point, definition, condition, batchBytesMax, signal } = scope;
  const { watches } = point;
  const { collectionId } = definition;
  const dismiss = watches.admit();
  const feed = point.enter();
  try {
    await feed.start();
    if (feed.failure !== undefined) throw feed.failure;
    const { resumeToken, idsOnly } = request;
    const { limits, budget } = watches;
    const { incarnation } = feed.now;
    const after =
      resumeToken === "" ? undefined : decodeResumeToken(resumeToken, collectionId, incarnation);
    using watcher = new Watcher({
      feed,
      condition,
      after,
      idsOnly,
      queue: { eventsMax: limits.watchQueueChangesMax, bytesMax: limits.watchQueueBytesMax },
      budget,
      batchBytesMax,
      signal,
    });
    const tokenOf = (revision: bigint): string =>
      encodeResumeToken(collectionId, { revision, incarnation });
    const begin = watcher.position;
    if (after !== undefined) await watcher.catchUp();
    yield { $typeName: "collector.WatchResponse", changes: [], resumeToken: tokenOf(begin) };
    const rest = watches.keepFresh(watcher);
    try {
      for (;;) {
        const batch = await watcher.next();
        yield point.shared.get(batch, idsOnly, ({ events, revision }) => ({
          $typeName: "collector.WatchResponse",
          changes: events.map((event) => toChange(event, scope, idsOnly)),
          resumeToken: tokenOf(revision),
        }));
      }
    } finally {
      rest();
    }
  } finally {
    point.leave();
    dismiss();
  }
}

function toChange(event: FeedEvent, { typeUrl }: WatchScope, idsOnly: boolean): Change {
  const { kind, id, revision, record } = event;
  const change: Change = { $typeName: "collector.Change", kind: kinds[kind], id };
  if (record === undefined) {
    const meta = { id, version: String(revision), labels: {} };
    return { ...change, meta: { $typeName: "collector.RecordMeta", ...meta } };
  }
  change.meta = recordMeta(record);
  if (kind !== "left" && !idsOnly && record.data !== undefined) {
    change.item = anyOf(typeUrl, record.data);
  }
  return change;
}
