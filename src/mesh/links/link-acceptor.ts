import { CollectorError } from "../../errors.ts";
import type { LinkGoodbye, LinkOffer } from "../../gen/collector/mesh_pb.ts";
import type { Log } from "../../lib/log.ts";
import type { Scheduler } from "../../lib/scheduler.ts";
import type { Dialer } from "../channel.ts";
import { DialBack } from "./dial-back.ts";
import type { Link } from "./link.ts";
import type { LinkBook } from "./link-book.ts";
import { type CallLimits, type LinkCallHost, madeCalls } from "./link-calls.ts";
import { LinkSession, type SessionTimes } from "./link-session.ts";
import { goodbye, type LinkStep } from "./link-step.ts";
import type { OfferBoard } from "./offer-board.ts";
import { Outbox } from "./outbox.ts";
import { type PeerOffer, secretBytes } from "./peer-offer.ts";

/** How long a stream that is there has to show that it is alive before another one takes its place. */
const aliveMs = 2000;

export interface LinkAcceptorOptions {
  readonly book: LinkBook;
  readonly board: OfferBoard;
  readonly dialer: Dialer;
  readonly scheduler: Scheduler;
  readonly limits: SessionTimes & CallLimits;
  readonly callHost: LinkCallHost;
  /** How long the other end may take to say who it is. */
  readonly handshakeMs: number;
  readonly log: Log;
  /** @throws {CollectorError} if the offer is no good */
  readonly readOffer: (offer: LinkOffer) => PeerOffer;
  /** A stream that begins: whoever stops the server waits for it. */
  readonly track: (run: Promise<unknown>) => void;
}

/** The end of a link that is dialled. */
export class LinkAcceptor {
  readonly #options: LinkAcceptorOptions;

  constructor(options: LinkAcceptorOptions) {
    this.#options = options;
  }

  /**
   * Takes a stream that another collector has opened, for as long as it lasts.
   *
   * @throws {CollectorError} why the link is refused
   */
  async *accept(steps: AsyncIterable<LinkStep>): AsyncGenerator<LinkStep, undefined> {
    const incoming = steps[Symbol.asyncIterator]() as AsyncIterator<LinkStep, undefined>;
    const first = await this.#firstOf(incoming);
    if (first.case === "goodbye") {
      yield await this.#part(first.value);
      return;
    }
    if (first.case !== "offer") {
      const text = `step: a link begins with an offer, not with ${first.case}`;
      throw new CollectorError("ARGUMENT_INVALID", text);
    }
    yield* await this.#begin(first.value, incoming);
  }

  async #firstOf(incoming: AsyncIterator<LinkStep, undefined>): Promise<LinkStep> {
    const { scheduler, handshakeMs } = this.#options;
    const { promise, reject } = Promise.withResolvers<never>();
    using _timer = scheduler.after(handshakeMs, () => {
      const text = `no offer came within ${handshakeMs} ms`;
      reject(new CollectorError("DEADLINE_EXCEEDED", text));
    });
    const result = await Promise.race([incoming.next(), promise]);
    if (result.done !== true) return result.value;
    throw new CollectorError("ARGUMENT_INVALID", "step: a link begins with an offer");
  }

  async #begin(
    said: LinkOffer,
    incoming: AsyncIterator<LinkStep, undefined>,
  ): Promise<AsyncIterable<LinkStep>> {
    const { book } = this.#options;
    const offer = this.#options.readOffer(said);
    // Whoever reaches itself is told who it is, and refuses itself.
    if (offer.collectorId === book.collectorId)
      return once(this.#answerDuplicate(offer.connectionId));
    if (said.secret.byteLength !== secretBytes) {
      const text = `offer.secret: has ${said.secret.byteLength} bytes, not ${secretBytes}`;
      throw new CollectorError("ARGUMENT_INVALID", text);
    }
    return await book.exclusively(offer.collectorId, async () => {
      const { connectionId, collectorId } = offer;
      const parting = book.parting(connectionId);
      if (parting !== undefined && book.peerOf(parting) === collectorId) {
        return this.#sayGone(connectionId, incoming);
      }
      const known = book.table.byPeer(collectorId);
      const session = known?.live?.session;
      if (known !== undefined && session !== undefined) {
        // It would not open another stream for a link whose stream it has.
        const isReplaced = known.id === connectionId && session.openerId === collectorId;
        if (!isReplaced && (await session.isAlive(aliveMs))) {
          return once(this.#answerDuplicate(known.id));
        }
      }
      await book.forgetPartingsWith(collectorId);
      const left = book.table.byPeer(collectorId);
      return this.#carry(left, offer, said.secret.slice(), incoming);
    });
  }

  /** Lets the stream carry the link, a new one if there is none. */
  #carry(
    known: Link | undefined,
    offer: PeerOffer,
    secret: Uint8Array,
    incoming: AsyncIterator<LinkStep, undefined>,
  ): Outbox {
    const { book, board, scheduler, limits: times, track } = this.#options;
    const fields = {
      sourceCollectorId: offer.collectorId,
      targetCollectorId: book.collectorId,
      address: offer.address,
    };
    const { connectionId } = offer;
    const link = known ?? book.begin(book.newConnection({ id: connectionId, ...fields }), false);
    const outbox = new Outbox(() => session.drop("the other end reads nothing"));
    const session = new LinkSession({
      openerId: offer.collectorId,
      isOpener: false,
      incoming,
      outbox,
      scheduler,
      times,
      abort: () => void outbox.return(),
    });
    const namespaces = link.connection.offeredNamespaces;
    outbox.push({ case: "offer", value: board.first({ connectionId: link.id, namespaces }) });
    const via = { connectionId: link.id, collectorId: offer.collectorId };
    const calls = madeCalls(via, outbox, this.#options.callHost, this.#options.limits);
    const dialBack = this.#dialBack(link.id, offer.collectorId, secret);
    const run = link.attach(
      {
        session,
        secret,
        dialled: () => dialBack.channel,
        calls,
        onOffer: ({ address }) => dialBack.aim(address),
        // Who has opened the stream is the one that dials from now on.
        onUp: () => link.change(fields),
        close: () => dialBack[Symbol.dispose](),
      },
      offer,
      false,
    );
    track(run);
    return outbox;
  }

  #dialBack(connectionId: string, peerId: string, secret: Uint8Array): DialBack {
    const { dialer, scheduler, handshakeMs, log } = this.#options;
    return new DialBack({
      dialer,
      scheduler,
      connectionId,
      secret,
      collectorId: this.#options.book.collectorId,
      peerId,
      timeoutMs: handshakeMs,
      onProblem: (address, error) => {
        const fields = { connectionId, collectorId: peerId, address, err: error };
        log.info(fields, "a linked collector cannot be dialled: calls go back over its stream");
      },
    });
  }

  #answerDuplicate(connectionId: string): LinkStep {
    const { board } = this.#options;
    const about = { connectionId, namespaces: [], isDuplicate: true };
    return { case: "offer", value: board.first(about) };
  }

  /** Tells the other end that the link was removed, and forgets that once it has answered. */
  #sayGone(
    connectionId: string,
    incoming: AsyncIterator<LinkStep, undefined>,
  ): AsyncIterable<LinkStep> {
    const { book, log } = this.#options;
    const farewell = this.#gone(connectionId);
    return (async function* () {
      yield farewell;
      for (let next = await incoming.next(); next.done !== true; next = await incoming.next()) {
        if (next.value.case !== "goodbye" || !next.value.value.removed) continue;
        await book.forgetParting(connectionId);
        log.info({ connectionId }, "the other end knows that the link is removed");
        return;
      }
    })();
  }

  /** The other end has removed the link while it was down. */
  async #part(said: LinkGoodbye): Promise<LinkStep> {
    const { book, log } = this.#options;
    const { connectionId, collectorId, removed } = said;
    if (removed) {
      await book.exclusively(collectorId, async () => {
        const link = book.table.byId(connectionId);
        if (link?.peerId === collectorId) {
          await book.forget(link, "the other end has removed the link");
          log.info({ connectionId, collectorId }, "a link was removed by its other end");
        }
        const parting = book.parting(connectionId);
        if (parting !== undefined && book.peerOf(parting) === collectorId) {
          await book.forgetParting(connectionId);
        }
      });
    }
    return this.#gone(connectionId);
  }

  #gone(connectionId: string): LinkStep {
    const { collectorId } = this.#options.book;
    return goodbye(true, { connectionId, collectorId });
  }
}

async function* once(step: LinkStep): AsyncGenerator<LinkStep, undefined> {
  yield await Promise.resolve(step);
}
