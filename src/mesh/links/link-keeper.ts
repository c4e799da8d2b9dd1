import type { Connection } from "../../gen/collector/dispatcher_pb.ts";
import type { Log } from "../../lib/log.ts";
import type { Link } from "./link.ts";
import type { LinkBook } from "./link-book.ts";
import type { LinkOpener } from "./link-opener.ts";
import type { SessionEnd } from "./link-session.ts";
import type { LinkSharing } from "./link-sharing.ts";
import type { OfferBoard } from "./offer-board.ts";
import type { PeerExecutors } from "./peer-executors.ts";
import type { Reconnector } from "./reconnector.ts";

/** After so long the end that was dialled dials itself, in case the other one has lost the link. */
const rescueMs = 60_000;

export interface LinkKeeperOptions {
  readonly book: LinkBook;
  readonly board: OfferBoard;
  readonly opener: LinkOpener;
  readonly executors: PeerExecutors;
  readonly reconnector: Reconnector;
  /** What registers at both ends what is registered at one. */
  readonly sharing: LinkSharing | undefined;
  readonly log: Log;
  /** Work that goes on: whoever stops the server waits for it. */
  readonly track: (work: Promise<unknown>) => void;
  /** Fires when the server stops. */
  readonly signal: AbortSignal;
}

/** Follows what becomes of links: dials those that are down, and writes what has changed. */
export class LinkKeeper {
  readonly #options: LinkKeeperOptions;

  constructor(options: LinkKeeperOptions) {
    this.#options = options;
  }

  /** Calls can travel. */
  onUp(link: Link): void {
    const { id, peerId, connection } = link;
    this.#options.reconnector.succeeded(id);
    this.#shareNow(link);
    this.#keep(link);
    this.#options.board.changed();
    this.#options.sharing?.follow(link);
    const { address, sharedNamespaces } = connection;
    this.#options.log.info(
      { connectionId: id, collectorId: peerId, address, sharedNamespaces },
      "linked",
    );
  }

  /** Its stream has ended. */
  onDown(link: Link, end: SessionEnd): void {
    const { id, peerId } = link;
    this.#options.board.changed();
    const fields = { connectionId: id, collectorId: peerId, problem: end.problem };
    if (this.#options.book.table.byId(id) !== link) {
      // It was removed here, and the other end has answered or not.
      const parting = this.#options.book.parting(id);
      if (parting === undefined) return;
      if (end.removed) this.#inBackground(this.#options.book.forgetParting(id), id);
      else this.planToPart(parting);
    } else if (end.removed) {
      this.#options.reconnector.forget(id);
      this.#options.log.info(fields, "a link was removed by its other end");
      this.#inBackground(this.#options.book.forget(link, end.problem), id);
    } else if (link.isSettled) {
      if (!this.#options.signal.aborted) this.#options.log.warn(fields, "a link is down");
      this.planToDial(link);
    } else {
      this.#options.book.table.remove(link);
    }
  }

  /** The other end offers something else. */
  onOffer(link: Link): void {
    this.#options.executors.changed();
    this.share(link);
    this.#options.sharing?.follow(link);
    // What it runs, or reaches, can be reached through here.
    this.#options.board.changed();
  }

  /** Settles what is shared; written if that has changed. */
  share(link: Link): void {
    if (this.#shareNow(link)) this.#keep(link);
  }

  #shareNow(link: Link): boolean {
    const { offer, connection } = link;
    if (offer === undefined) return false;
    this.#options.executors.changed();
    const shared = this.#options.board.sharedWith(connection.offeredNamespaces, offer.namespaces);
    const before = connection.sharedNamespaces;
    if (shared.length === before.length && shared.every((name, at) => name === before[at])) {
      return false;
    }
    link.change({ sharedNamespaces: shared });
    return true;
  }

  /** Dials a link that is down, after a pause. */
  planToDial(link: Link): void {
    const { id, isSource, connection } = link;
    if (this.#options.signal.aborted || connection.address === "") return;
    const attempt = (): void => this.#inBackground(this.#dial(link), id);
    this.#options.reconnector.plan(id, attempt, isSource ? 0 : rescueMs);
  }

  async #dial(link: Link): Promise<void> {
    const { id, peerId, connection } = link;
    if (this.#options.book.table.byId(id) !== link || link.live !== undefined) return;
    const { address, offeredNamespaces: namespaces } = connection;
    const request = { address, field: "address", connectionId: id, namespaces, labels: {}, peerId };
    try {
      const opened = await this.#options.opener.open(request);
      if (opened === undefined) {
        this.#options.log.info(
          { connectionId: id, collectorId: peerId },
          "a link was removed by its other end",
        );
        await this.#options.book.exclusively(peerId, () =>
          this.#options.book.forget(link, "it was removed"),
        );
        return;
      }
    } catch (error) {
      const problem = error instanceof Error ? error.message : String(error);
      if (problem !== link.problem) {
        this.#options.log.info(
          { connectionId: id, collectorId: peerId, problem },
          "a link stays down",
        );
      }
      link.problem = problem;
    }
    if (this.#options.book.table.byId(id) === link && link.live === undefined)
      this.planToDial(link);
  }

  /** Tells the other end of a removed link, after a pause. */
  planToPart(parting: Connection): void {
    const { id, address } = parting;
    if (this.#options.signal.aborted || address === "") return;
    this.#options.reconnector.plan(id, () => this.#inBackground(this.#part(parting), id));
  }

  async #part(parting: Connection): Promise<void> {
    const { id } = parting;
    if (this.#options.book.parting(id) === undefined) return;
    try {
      if (await this.#options.opener.part(parting)) {
        this.#options.log.info(
          { connectionId: id },
          "the other end knows that the link is removed",
        );
        this.#options.reconnector.forget(id);
        await this.#options.book.forgetParting(id);
        return;
      }
    } catch (error) {
      this.#options.log.debug(
        { connectionId: id, err: error },
        "the other end of a removed link is away",
      );
    }
    this.planToPart(parting);
  }

  #keep(link: Link): void {
    this.#inBackground(this.#options.book.keep(link), link.id);
  }

  #inBackground(work: Promise<void>, connectionId: string): void {
    const done = work.catch((error: unknown) => {
      this.#options.log.error({ err: error, connectionId }, "a link could not be written");
    });
    this.#options.track(done);
  }
}
