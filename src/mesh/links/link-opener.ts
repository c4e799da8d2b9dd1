import { randomBytes } from "node:crypto";
import { CollectorError, invalidField } from "../../errors.ts";
import type { Connection } from "../../gen/collector/dispatcher_pb.ts";
import type { LinkOffer } from "../../gen/collector/mesh_pb.ts";
import type { Log } from "../../lib/log.ts";
import type { Scheduler } from "../../lib/scheduler.ts";
import type { Dialer } from "../channel.ts";
import type { Link } from "./link.ts";
import type { LinkBook } from "./link-book.ts";
import { type CallLimits, type LinkCallHost, servedCalls } from "./link-calls.ts";
import { LinkSession, type SessionTimes } from "./link-session.ts";
import { goodbye, type LinkStep } from "./link-step.ts";
import type { OfferBoard } from "./offer-board.ts";
import { endStream, type OpenStream, openStream } from "./open-stream.ts";
import { type PeerOffer, secretBytes } from "./peer-offer.ts";

/** How long this end may take to know of a link that the other end knows. */
const settleMs = 2000;

export interface LinkOpenerOptions {
  readonly book: LinkBook;
  readonly board: OfferBoard;
  readonly dialer: Dialer;
  readonly scheduler: Scheduler;
  readonly limits: SessionTimes & CallLimits;
  readonly callHost: LinkCallHost;
  /** How long the other end may take to answer, connecting included. */
  readonly handshakeMs: number;
  readonly log: Log;
  /** @throws {CollectorError} if the offer is no good */
  readonly readOffer: (offer: LinkOffer) => PeerOffer;
  /** A stream that begins: whoever stops the server waits for it. */
  readonly track: (run: Promise<unknown>) => void;
  /** Fires when the server stops. */
  readonly signal: AbortSignal;
}

export interface OpenLinkRequest {
  readonly address: string;
  /** Of the request that holds the address. */
  readonly field: string;
  readonly connectionId: string;
  readonly namespaces: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  /** The collector that has to be there; undefined for any. */
  readonly peerId: string | undefined;
}

/** The end of a link that dials. */
export class LinkOpener {
  readonly #options: LinkOpenerOptions;

  constructor(options: LinkOpenerOptions) {
    this.#options = options;
  }

  /**
   * Opens a stream to another collector and lets it carry the link to it. If there is a link already,
   * by another address or opened by the other end meanwhile, it is that one that is answered.
   *
   * @returns undefined if the other end says that the link was removed
   * @throws {CollectorError} PEER_DENIED, PEER_UNAVAILABLE, PEER_NOT_COLLECTOR, PEER_REFUSED,
   * LINK_INCOMPATIBLE, LINK_LIMIT_EXCEEDED; ARGUMENT_INVALID if this collector itself is there
   */
  async open(request: OpenLinkRequest): Promise<Link | undefined> {
    const { board, book } = this.#options;
    const { connectionId, namespaces } = request;
    const secret = randomBytes(secretBytes);
    const first = board.first({ connectionId, namespaces, secret });
    const stream = await this.#dial(request, { case: "offer", value: first });
    try {
      if (stream.answer.case === "goodbye") {
        this.#end(stream, true);
        return undefined;
      }
      const offer = this.#read(stream, request);
      if (offer.isDuplicate) {
        this.#end(stream, false);
        return await this.#linkedAlready(offer, request.address);
      }
      return await book.exclusively(offer.collectorId, () =>
        this.#carry(stream, offer, secret, request),
      );
    } catch (error) {
      this.#end(stream, true);
      throw error;
    }
  }

  /**
   * Tells the other end of a link that it was removed.
   *
   * @returns whether it knows now
   */
  async part(connection: Connection): Promise<boolean> {
    const { collectorId } = this.#options.book;
    const { id: connectionId, address } = connection;
    const stream = await this.#dial(
      { address, field: "address" },
      goodbye(true, { connectionId, collectorId }),
    );
    this.#end(stream, false);
    const peerId = this.#options.book.peerOf(connection);
    const { answer } = stream;
    return answer.case === "goodbye" && answer.value.collectorId === peerId;
  }

  #dial(
    { address, field }: Pick<OpenLinkRequest, "address" | "field">,
    first: LinkStep,
  ): Promise<OpenStream> {
    const { dialer, scheduler, handshakeMs, signal } = this.#options;
    return openStream({ dialer, scheduler, handshakeMs, signal, address, field, first });
  }

  #read({ answer }: OpenStream, { address, field, peerId }: OpenLinkRequest): PeerOffer {
    const { book, readOffer } = this.#options;
    if (answer.case !== "offer") {
      const text = `the collector at ${address} begins with ${answer.case} and not with an offer`;
      throw new CollectorError("PEER_REFUSED", text);
    }
    const offer = readAnswer(() => readOffer(answer.value), address);
    if (offer.collectorId === book.collectorId) {
      throw invalidField(
        "ARGUMENT_INVALID",
        field,
        `the collector there has the id of this one, ${book.collectorId}: name another one, or if it is another, give it a collectorId of its own`,
      );
    }
    if (peerId !== undefined && offer.collectorId !== peerId) {
      const text = `collector ${offer.collectorId} answers at ${address}, and not ${peerId}`;
      throw new CollectorError("PEER_REFUSED", text);
    }
    return offer;
  }

  /** The other end has a stream for the link already: this end gets to know of it in a moment at most. */
  async #linkedAlready(offer: PeerOffer, address: string): Promise<Link> {
    const { book, scheduler } = this.#options;
    const { table } = book;
    const { promise, resolve } = Promise.withResolvers<void>();
    using _timer = scheduler.after(settleMs, resolve);
    using _changes = table.subscribe(() => {
      if (table.byPeer(offer.collectorId) !== undefined) resolve();
    });
    if (table.byPeer(offer.collectorId) === undefined) await promise;
    const link = table.byPeer(offer.collectorId);
    if (link !== undefined) return link;
    throw new CollectorError(
      "PEER_REFUSED",
      `the collector at ${address} has a link to another collector with the id of this one, ${book.collectorId}: give one of them a collectorId of its own`,
    );
  }

  /** Lets the stream carry the link, unless another one does that both ends prefer. */
  async #carry(
    stream: OpenStream,
    offer: PeerOffer,
    secret: Uint8Array,
    request: OpenLinkRequest,
  ): Promise<Link> {
    const { book, scheduler, limits: times, track } = this.#options;
    const { collectorId: self } = book;
    const { connectionId: id, collectorId: peerId } = offer;
    const known = book.table.byPeer(peerId);
    const openerId = known?.live?.session.openerId;
    if (known !== undefined && openerId !== undefined && prefers(known.id, openerId, id, self)) {
      this.#end(stream, false);
      return known;
    }
    const { address, namespaces, labels } = request;
    const fields = { sourceCollectorId: self, targetCollectorId: peerId, address };
    const link =
      known?.id === id
        ? known
        : await this.#renew(known, { id, ...fields, offeredNamespaces: namespaces, labels });
    link.change(fields);
    await book.keep(link);
    if (book.table.byId(id) !== link) {
      const text = `the link to the collector at ${address} was removed while it was made`;
      throw new CollectorError("PEER_REFUSED", text);
    }
    const { channel, incoming, outbox } = stream;
    const abort = (): void => {
      stream.abort();
      void channel[Symbol.asyncDispose]();
    };
    const session = new LinkSession({
      openerId: self,
      isOpener: true,
      incoming,
      outbox,
      scheduler,
      times,
      abort,
    });
    const via = { connectionId: id, collectorId: peerId };
    const calls = servedCalls(via, outbox, this.#options.callHost, this.#options.limits);
    const run = link.attach(
      {
        session,
        secret,
        dialled: () => channel,
        calls,
        onUp: () => undefined,
        onOffer: () => undefined,
        close: () => undefined,
      },
      offer,
      true,
    );
    track(run.then(() => channel[Symbol.asyncDispose]()));
    return link;
  }

  /** A new link in the place of one that the other end does not know by that id. */
  async #renew(
    known: Link | undefined,
    fields: Parameters<LinkBook["newConnection"]>[0],
  ): Promise<Link> {
    const { book } = this.#options;
    const sharesRegistrations = known?.connection.sharesRegistrations ?? [];
    if (known !== undefined) await book.forget(known, "another link has taken its place");
    await book.forgetPartingsWith(fields.targetCollectorId);
    return book.begin(book.newConnection({ ...fields, sharesRegistrations }), true);
  }

  /** Ends a stream that carries nothing. */
  #end(stream: OpenStream, removed: boolean): void {
    this.#options.track(endStream(stream, removed, this.#options.scheduler));
  }
}

/** Whether the first of two streams to the same collector is the one that stays: at both ends the same. */
function prefers(id: string, openerId: string, otherId: string, otherOpenerId: string): boolean {
  return id === otherId ? openerId < otherOpenerId : id < otherId;
}

function readAnswer(read: () => PeerOffer, address: string): PeerOffer {
  try {
    return read();
  } catch (cause) {
    if (!(cause instanceof CollectorError)) throw cause;
    const reason = cause.reason === "LINK_INCOMPATIBLE" ? cause.reason : "PEER_REFUSED";
    const text = `the collector at ${address}: ${cause.message}`;
    throw new CollectorError(reason, text, { subject: cause.subject, cause });
  }
}
