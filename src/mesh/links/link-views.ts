import { create } from "@bufbuild/protobuf";
import { type Collector, CollectorSchema } from "../../gen/collector/dispatcher_pb.ts";
import type { LinkStatus } from "../../gen/collector/mesh_pb.ts";
import type { Clock } from "../../lib/clock.ts";
import type { Limits } from "../../lib/limits.ts";
import { encodePageToken, type PageRequest, readPage } from "../../lib/page-token.ts";
import type { Link } from "./link.ts";
import type { LinkSharing } from "./link-sharing.ts";
import type { LinkTable } from "./link-table.ts";
import { type OfferSource, type OwnFacts, offeredNamespaces } from "./own-offer.ts";
import { timestampOfUs } from "./timestamps.ts";

export interface LinkViewsOptions {
  readonly table: LinkTable;
  readonly source: OfferSource;
  readonly facts: OwnFacts;
  readonly clock: Clock;
  readonly sharing: LinkSharing | undefined;
  readonly limits: Pick<Limits, "pageSizeDefault" | "pageSizeMax">;
}

/** Lists of links, and of the collectors that are known by them. */
export class LinkViews {
  readonly #options: LinkViewsOptions;

  constructor(options: LinkViewsOptions) {
    this.#options = options;
  }

  /** Links by id. @throws {CollectorError} PAGE_SIZE_INVALID, PAGE_TOKEN_INVALID */
  connections(page: PageRequest): { connections: LinkStatus[]; nextPageToken: string } {
    const links = this.#options.table.settled();
    const found = this.#page(links, ({ id }) => id, page, "ListConnections");
    return {
      connections: found.items.map((link) => this.status(link)),
      nextPageToken: found.nextPageToken,
    };
  }

  /** A link as it is now, with what is shared over it. */
  status(link: Link): LinkStatus {
    return Object.assign(link.toStatus(), this.#options.sharing?.viewOf(link));
  }

  /**
   * This collector, those that it is linked to, and those that these are linked to; by id.
   *
   * @throws {CollectorError} PAGE_SIZE_INVALID, PAGE_TOKEN_INVALID
   */
  collectors(page: PageRequest): { collectors: Collector[]; nextPageToken: string } {
    const { table } = this.#options;
    const known = new Map<string, Collector>();
    for (const link of table.settled()) {
      for (const id of link.isUp ? (link.offer?.linkedCollectorIds ?? []) : []) {
        known.set(id, create(CollectorSchema, { id, lastSeen: link.connection.lastActivity }));
      }
    }
    for (const link of table.settled()) known.set(link.peerId, linked(link));
    const own = this.#self();
    known.set(own.id, own);
    const sorted = [...known.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
    const found = this.#page(sorted, ({ id }) => id, page, "ListCollectors");
    return { collectors: found.items, nextPageToken: found.nextPageToken };
  }

  #self(): Collector {
    const { facts, source, clock } = this.#options;
    return create(CollectorSchema, {
      id: facts.collectorId,
      address: facts.address(),
      namespaces: offeredNamespaces(source, []),
      capabilities: [...facts.features],
      lastSeen: timestampOfUs(clock.nowUs()),
    });
  }

  #page<T>(
    sorted: readonly T[],
    keyOf: (item: T) => string,
    request: PageRequest,
    method: string,
  ): { items: T[]; nextPageToken: string } {
    const { size, after } = readPage(request, [method], this.#options.limits);
    const rest = after === undefined ? sorted : sorted.filter((item) => keyOf(item) > after);
    const items = rest.slice(0, size);
    const last = items.at(-1);
    const isLast = last === undefined || rest.length <= size;
    return { items, nextPageToken: isLast ? "" : encodePageToken([method], keyOf(last)) };
  }
}

function linked({ peerId, offer, connection }: Link): Collector {
  return create(CollectorSchema, {
    id: peerId,
    address: offer?.address ?? connection.address,
    namespaces: [...connection.sharedNamespaces],
    capabilities: [...(offer?.features ?? [])],
    isDirectPeer: true,
    metadata: connection.metadata,
    lastSeen: connection.lastActivity,
  });
}
