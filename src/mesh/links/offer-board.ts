import { toBinary } from "@bufbuild/protobuf";
import { type LinkOffer, LinkOfferSchema } from "../../gen/collector/mesh_pb.ts";
import type { Log } from "../../lib/log.ts";
import type { Scheduler } from "../../lib/scheduler.ts";
import type { Link } from "./link.ts";
import type { LinkSession } from "./link-session.ts";
import type { LinkTable } from "./link-table.ts";
import {
  makeOffer,
  type OfferSource,
  type OwnFacts,
  offeredNamespaces,
  type RemoteOffers,
} from "./own-offer.ts";
import type { PeerOffer } from "./peer-offer.ts";

/** How long changes are gathered before the other ends are told. */
const gatherMs = 100;

export interface OfferBoardOptions {
  readonly source: OfferSource & RemoteOffers;
  readonly facts: OwnFacts;
  readonly table: LinkTable;
  readonly scheduler: Scheduler;
  /** Largest offer. */
  readonly bytesMax: number;
  readonly log: Log;
  /** What this collector offers over a link has changed. */
  readonly onChange: (link: Link) => void;
  /** Namespaces whose registrations this collector shares over a link, with a digest of each, in hex. */
  readonly registrationsOver: (link: Link) => Iterable<readonly [string, string]>;
}

export interface FirstOffer {
  readonly connectionId: string;
  readonly namespaces: readonly string[];
  readonly secret?: Uint8Array;
  readonly isDuplicate?: boolean;
}

/** Tells linked collectors what this one offers, and again when that changes. */
export class OfferBoard {
  readonly #options: OfferBoardOptions;
  /** What was told last, so that what is the same is not said again. */
  readonly #told = new WeakMap<LinkSession, Uint8Array>();
  #timer: Disposable | undefined;
  #isLeaving = false;

  constructor(options: OfferBoardOptions) {
    this.#options = options;
  }

  /** The offer that a stream begins with: of what can be reached through here the next one tells. */
  first(about: FirstOffer): LinkOffer {
    return this.#make(about, undefined, []);
  }

  /** @param peer the other end, as it has said; undefined leaves out what is at other collectors */
  #make(
    about: FirstOffer,
    peer: PeerOffer | undefined,
    registrations: Iterable<readonly [string, string]>,
  ): LinkOffer {
    const { source, facts, table, bytesMax, log } = this.#options;
    const linkedCollectorIds = table
      .settled()
      .filter(({ isUp }) => isUp)
      .map(({ peerId }) => peerId);
    const isLeaving = this.#isLeaving;
    const isNews =
      peer === undefined
        ? undefined
        : ({ way }: { readonly way: readonly string[] }) =>
            !way.includes(peer.collectorId) && !peer.linkedCollectorIds.includes(way.at(-1) ?? "");
    const details = {
      ...about,
      linkedCollectorIds,
      bytesMax,
      isLeaving,
      registrations: new Map(registrations),
      ...(isNews === undefined ? {} : { isNews }),
    };
    const { offer, leftOut } = makeOffer(source, facts, details);
    if (leftOut > 0) {
      const fields = { connectionId: about.connectionId, leftOut };
      log.warn(fields, "an offer is too large: some namespaces are left out");
    }
    return offer;
  }

  /** Namespaces that both ends of a link offer, by name. */
  sharedWith(namespaces: readonly string[], theirs: ReadonlyMap<string, unknown>): string[] {
    return offeredNamespaces(this.#options.source, namespaces).filter((name) => theirs.has(name));
  }

  /** What this collector offers may have changed: the others are told soon. */
  changed(): void {
    if (this.#isLeaving) return;
    this.#timer ??= this.#options.scheduler.after(gatherMs, () => {
      this.#timer = undefined;
      this.#tellAll();
    });
  }

  /** Tells the others at once that no new calls are taken; it is the last thing that they are told. */
  leave(): void {
    this.#isLeaving = true;
    this.#timer?.[Symbol.dispose]();
    this.#tellAll();
  }

  #tellAll(): void {
    for (const link of this.#options.table.settled()) {
      const { live } = link;
      if (live !== undefined && link.isUp) this.#tell(link, live.session);
      this.#options.onChange(link);
    }
  }

  #tell(link: Link, session: LinkSession): void {
    const namespaces = link.connection.offeredNamespaces;
    const registrations = this.#options.registrationsOver(link);
    const offer = this.#make({ connectionId: link.id, namespaces }, link.offer, registrations);
    const bytes = toBinary(LinkOfferSchema, offer);
    const last = this.#told.get(session);
    if (last !== undefined && Buffer.compare(last, bytes) === 0) return;
    this.#told.set(session, bytes);
    session.send({ case: "offer", value: offer });
  }
}
