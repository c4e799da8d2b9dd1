import { randomUUIDv7 } from "node:crypto";
import { checkLabels } from "../../collections/names.ts";
import type { SystemRecords } from "../../collections/system-records.ts";
import { CollectorError, invalidField } from "../../errors.ts";
import type { Connection } from "../../gen/collector/dispatcher_pb.ts";
import { type Clock, systemClock } from "../../lib/clock.ts";
import type { Limits } from "../../lib/limits.ts";
import { type Log, silentLog } from "../../lib/log.ts";
import { type Scheduler, systemScheduler } from "../../lib/scheduler.ts";
import { checkNamespaceName, systemNamespace } from "../../registry/names.ts";
import type { Dialer } from "../channel.ts";
import type { Link } from "./link.ts";
import { LinkAcceptor } from "./link-acceptor.ts";
import { LinkBook } from "./link-book.ts";
import type { LinkCallHost } from "./link-calls.ts";
import { LinkGuard } from "./link-guard.ts";
import { LinkOpener } from "./link-opener.ts";
import { LinkRecords } from "./link-records.ts";
import type { SessionEnd } from "./link-session.ts";
import type { LinkStep } from "./link-step.ts";
import { type LinkTable, linkNotFound } from "./link-table.ts";
import { LinkViews } from "./link-views.ts";
import { OfferBoard } from "./offer-board.ts";
import type { OfferSource, OwnFacts } from "./own-offer.ts";
import { PeerExecutors } from "./peer-executors.ts";
import { type PeerOffer, readOffer } from "./peer-offer.ts";
import { Reconnector } from "./reconnector.ts";

/** Namespaces that a Connect may name. */
const namespacesMax = 1000;

/** After so long the end that was dialled dials itself, in case the other one has lost the link. */
const rescueMs = 60_000;

export type LinkLimits = Pick<
  Limits,
  | "meshPeersMax"
  | "linkPingMs"
  | "linkTimeoutMs"
  | "linkHandshakeMs"
  | "linkRetryMaxMs"
  | "linkCallsMax"
  | "drainMs"
  | "messageBytesMax"
  | "headerBytesMax"
  | "labelsMax"
  | "labelKeyBytesMax"
  | "labelValueBytesMax"
  | "pageSizeDefault"
  | "pageSizeMax"
>;

export interface LinksOptions {
  /** Collection `connections` of namespace `system`. */
  readonly records: SystemRecords<Connection>;
  readonly dialer: Dialer;
  readonly source: OfferSource;
  readonly facts: OwnFacts;
  readonly calls: LinkCallHost;
  readonly limits: LinkLimits;
  readonly scheduler?: Scheduler;
  readonly clock?: Clock;
  readonly log?: Log;
  /** From 0 to 1. */
  readonly random?: () => number;
}

export interface ConnectRequest {
  readonly address: string;
  readonly namespaces: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
}

/**
 * The links of this collector to others: made by Connect at either end, kept up from then on, and
 * removed by Disconnect at either end.
 */
export class Links implements AsyncDisposable {
  readonly collectorId: string;
  /** What linked collectors run. */
  readonly executors: PeerExecutors;
  readonly guard: LinkGuard;
  readonly views: LinkViews;
  readonly #limits: LinkLimits;
  readonly #scheduler: Scheduler;
  readonly #facts: OwnFacts;
  readonly #log: Log;
  readonly #book: LinkBook;
  readonly #records: LinkRecords;
  readonly #board: OfferBoard;
  readonly #opener: LinkOpener;
  readonly #acceptor: LinkAcceptor;
  readonly #reconnector: Reconnector;
  readonly #stopping = new AbortController();
  /** Streams that are open, and work that goes on beside them. */
  readonly #running = new Set<Promise<unknown>>();
  #closed: Promise<void> | undefined;
  readonly #connecting = new Map<string, Promise<Link>>();

  private constructor(options: Required<LinksOptions>) {
    const { facts, limits, scheduler, clock, log, dialer, random, source } = options;
    this.collectorId = facts.collectorId;
    this.#limits = limits;
    this.#scheduler = scheduler;
    this.#facts = facts;
    this.#log = log;
    const { records } = options;
    this.#records = new LinkRecords({ records, scheduler, clock, log });
    this.#book = new LinkBook({
      collectorId: facts.collectorId,
      records: this.#records,
      clock,
      log,
      linksMax: limits.meshPeersMax,
      listener: {
        onUp: (link) => this.#onUp(link),
        onDown: (link, end) => this.#onDown(link, end),
        readOffer: (offer) => this.#readOffer(offer),
        onOffer: (link) => this.#onOffer(link),
        onHealthy: (link) => this.#records.noteActivity(link),
      },
    });
    const { table } = this.#book;
    this.executors = new PeerExecutors(table, () => Number(clock.nowUs() / 1000n));
    this.guard = new LinkGuard(table, facts.collectorId);
    this.views = new LinkViews({ table, source, facts, clock, limits });
    this.#board = new OfferBoard({
      source,
      facts,
      table,
      scheduler,
      log,
      bytesMax: Math.floor(limits.messageBytesMax / 2),
      onChange: (link) => this.#share(link),
    });
    const common = {
      book: this.#book,
      board: this.#board,
      dialer,
      scheduler,
      limits,
      callHost: options.calls,
      handshakeMs: limits.linkHandshakeMs,
      log,
      readOffer: (offer: Parameters<typeof readOffer>[0]) => this.#readOffer(offer),
      track: (run: Promise<unknown>) => this.#track(run),
    };
    this.#opener = new LinkOpener({ ...common, signal: this.#stopping.signal });
    this.#acceptor = new LinkAcceptor(common);
    const retryMaxMs = limits.linkRetryMaxMs;
    this.#reconnector = new Reconnector({ scheduler, retryMaxMs, random });
  }

  /** Reads the links that there are. They are not dialled before {@link start}. */
  static async open(options: LinksOptions): Promise<Links> {
    const links = new Links({
      scheduler: systemScheduler,
      clock: systemClock,
      log: silentLog,
      random: Math.random,
      ...options,
    });
    await links.#book.load();
    return links;
  }

  get table(): LinkTable {
    return this.#book.table;
  }

  /** Establishes the links again; to be called once this collector can be dialled. */
  start(): void {
    for (const link of this.table.all()) this.#planToDial(link);
    for (const parting of this.#book.partings()) this.#planToPart(parting);
  }

  /**
   * Links another collector. The same address again, or another address of the same collector, is
   * answered with the link that there is.
   *
   * @throws {CollectorError} ARGUMENT_MISSING, ARGUMENT_INVALID, NAME_INVALID, LABEL_INVALID,
   * PEER_DENIED, PEER_UNAVAILABLE, PEER_NOT_COLLECTOR, PEER_REFUSED, LINK_INCOMPATIBLE,
   * LINK_LIMIT_EXCEEDED, SHUTTING_DOWN
   */
  async connect(request: ConnectRequest): Promise<Link> {
    checkConnect(request, this.#limits);
    this.#refuseIfStopping();
    const { address } = request;
    const known = this.table.byAddress(address);
    if (known?.isUp === true) return known;
    // Who asks for the same at the same time gets the same.
    let connecting = this.#connecting.get(address);
    if (connecting === undefined) {
      connecting = this.#connect(request).finally(() => this.#connecting.delete(address));
      this.#connecting.set(address, connecting);
    }
    return await connecting;
  }

  /** Carries a link that another collector has opened, for as long as it lasts. */
  async *accept(steps: AsyncIterable<LinkStep>): AsyncGenerator<LinkStep, undefined> {
    this.#refuseIfStopping();
    yield* this.#acceptor.accept(steps);
  }

  /**
   * Removes a link, at both ends. If the other end is down, it is told when it comes back.
   *
   * @throws {CollectorError} ARGUMENT_MISSING, LINK_NOT_FOUND
   */
  async disconnect(id: string, allowMissing: boolean): Promise<void> {
    if (id === "") throw invalidField("ARGUMENT_MISSING", "connection_id", "names no link");
    const link = this.table.byId(id);
    if (link?.isSettled !== true) {
      if (allowMissing) return;
      throw linkNotFound(id);
    }
    await this.#book.exclusively(link.peerId, async () => {
      if (this.table.byId(id) !== link) return;
      this.#reconnector.forget(id);
      const parting = await this.#book.part(link);
      this.#log.info({ connectionId: id, collectorId: link.peerId }, "a link was removed");
      const { live } = link;
      if (live === undefined) {
        link.abandon("the link is removed");
        this.#planToPart(parting);
        return;
      }
      live.session.leave(true);
      await live.session.ended;
    });
  }

  /** What this collector offers, or what it is called, may have changed. */
  offersChanged(): void {
    this.#board.changed();
  }

  /** Says goodbye on every link and waits for the answers; the links are established again later. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    this.#stopping.abort(new CollectorError("SHUTTING_DOWN", "this server is shutting down"));
    this.#reconnector[Symbol.dispose]();
    this.#board.leave();
    const streams = this.table.all().flatMap(({ live }) => live ?? []);
    const over = Promise.withResolvers<void>();
    const timer = this.#scheduler.after(this.#limits.drainMs, over.resolve);
    await Promise.race([Promise.all(streams.map(({ calls }) => calls.drain())), over.promise]);
    timer[Symbol.dispose]();
    for (const { live } of this.table.all()) live?.session.leave(false);
    while (this.#running.size > 0) await Promise.all(this.#running);
    await this.#records.close();
  }

  async #connect({ address, namespaces, labels }: ConnectRequest): Promise<Link> {
    const request = { address, field: "address", namespaces, labels, peerId: undefined };
    const link = await this.#opener.open({ ...request, connectionId: randomUUIDv7() });
    if (link === undefined) {
      const text = `the collector at ${address} says that a new link is removed already`;
      throw new CollectorError("PEER_REFUSED", text);
    }
    await link.whenAnswered();
    return link;
  }

  #onUp(link: Link): void {
    const { id, peerId, connection } = link;
    this.#reconnector.succeeded(id);
    this.#shareNow(link);
    this.#keep(link);
    this.#board.changed();
    const { address, sharedNamespaces } = connection;
    this.#log.info({ connectionId: id, collectorId: peerId, address, sharedNamespaces }, "linked");
  }

  #onDown(link: Link, end: SessionEnd): void {
    const { id, peerId } = link;
    this.#board.changed();
    const fields = { connectionId: id, collectorId: peerId, problem: end.problem };
    if (this.table.byId(id) !== link) {
      // It was removed here, and the other end has answered or not.
      const parting = this.#book.parting(id);
      if (parting === undefined) return;
      if (end.removed) this.#inBackground(this.#book.forgetParting(id), id);
      else this.#planToPart(parting);
    } else if (end.removed) {
      this.#reconnector.forget(id);
      this.#log.info(fields, "a link was removed by its other end");
      this.#inBackground(this.#book.forget(link, end.problem), id);
    } else if (link.isSettled) {
      if (!this.#stopping.signal.aborted) this.#log.warn(fields, "a link is down");
      this.#planToDial(link);
    } else {
      this.table.remove(link);
    }
  }

  #onOffer(link: Link): void {
    this.executors.changed();
    this.#share(link);
  }

  /** Settles what is shared; written if that has changed. */
  #share(link: Link): void {
    if (this.#shareNow(link)) this.#keep(link);
  }

  #shareNow(link: Link): boolean {
    const { offer, connection } = link;
    if (offer === undefined) return false;
    this.executors.changed();
    const shared = this.#board.sharedWith(connection.offeredNamespaces, offer.namespaces);
    const before = connection.sharedNamespaces;
    if (shared.length === before.length && shared.every((name, at) => name === before[at])) {
      return false;
    }
    link.change({ sharedNamespaces: shared });
    return true;
  }

  #planToDial(link: Link): void {
    const { id, isSource, connection } = link;
    if (this.#stopping.signal.aborted || connection.address === "") return;
    const attempt = (): void => this.#inBackground(this.#dial(link), id);
    this.#reconnector.plan(id, attempt, isSource ? 0 : rescueMs);
  }

  async #dial(link: Link): Promise<void> {
    const { id, peerId, connection } = link;
    if (this.table.byId(id) !== link || link.live !== undefined) return;
    const { address, offeredNamespaces: namespaces } = connection;
    const request = { address, field: "address", connectionId: id, namespaces, labels: {}, peerId };
    try {
      const opened = await this.#opener.open(request);
      if (opened === undefined) {
        this.#log.info(
          { connectionId: id, collectorId: peerId },
          "a link was removed by its other end",
        );
        await this.#book.exclusively(peerId, () => this.#book.forget(link, "it was removed"));
        return;
      }
    } catch (error) {
      const problem = error instanceof Error ? error.message : String(error);
      if (problem !== link.problem) {
        this.#log.info({ connectionId: id, collectorId: peerId, problem }, "a link stays down");
      }
      link.problem = problem;
    }
    if (this.table.byId(id) === link && link.live === undefined) this.#planToDial(link);
  }

  #planToPart(parting: Connection): void {
    const { id, address } = parting;
    if (this.#stopping.signal.aborted || address === "") return;
    this.#reconnector.plan(id, () => this.#inBackground(this.#part(parting), id));
  }

  async #part(parting: Connection): Promise<void> {
    const { id } = parting;
    if (this.#book.parting(id) === undefined) return;
    try {
      if (await this.#opener.part(parting)) {
        this.#log.info({ connectionId: id }, "the other end knows that the link is removed");
        this.#reconnector.forget(id);
        await this.#book.forgetParting(id);
        return;
      }
    } catch (error) {
      this.#log.debug({ connectionId: id, err: error }, "the other end of a removed link is away");
    }
    this.#planToPart(parting);
  }

  #readOffer(offer: Parameters<typeof readOffer>[0]): PeerOffer {
    const { serverVersion } = this.#facts;
    return readOffer(offer, { serverVersion, limits: this.#limits });
  }

  #keep(link: Link): void {
    this.#inBackground(this.#book.keep(link), link.id);
  }

  #inBackground(work: Promise<void>, connectionId: string): void {
    const done = work.catch((error: unknown) => {
      this.#log.error({ err: error, connectionId }, "a link could not be written");
    });
    this.#track(done);
  }

  #track(run: Promise<unknown>): void {
    const done = run.finally(() => this.#running.delete(done));
    this.#running.add(done);
  }

  #refuseIfStopping(): void {
    if (this.#stopping.signal.aborted) {
      throw new CollectorError("SHUTTING_DOWN", "this server is shutting down");
    }
  }
}

/** @throws {CollectorError} ARGUMENT_MISSING, ARGUMENT_INVALID, NAME_INVALID, LABEL_INVALID */
function checkConnect({ address, namespaces, labels }: ConnectRequest, limits: LinkLimits): void {
  if (address === "") {
    throw invalidField("ARGUMENT_MISSING", "address", "names no collector; send host:port");
  }
  if (namespaces.length > namespacesMax) {
    const text = `has ${namespaces.length} names, the limit is ${namespacesMax}`;
    throw invalidField("ARGUMENT_INVALID", "namespaces", text);
  }
  for (const [index, name] of namespaces.entries()) {
    const field = `namespaces[${index}]`;
    checkNamespaceName(name, field);
    if (name === systemNamespace) {
      throw invalidField("NAME_INVALID", field, "a server's own namespace is not shared");
    }
  }
  checkLabels(labels, limits, "metadata");
}
