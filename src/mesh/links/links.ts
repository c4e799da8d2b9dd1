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
import { LinkKeeper } from "./link-keeper.ts";
import { LinkOpener } from "./link-opener.ts";
import { LinkRecords } from "./link-records.ts";
import type { LinkSharing } from "./link-sharing.ts";
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

export type LinkLimits = Pick<
  Limits,
  | "meshPeersMax"
  | "meshHopsMax"
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
  /** Without it registrations are not shared. */
  readonly sharing?: LinkSharing | undefined;
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
  /** Namespaces whose registrations this end shares; none if it is left out. */
  readonly sharesRegistrations?: readonly string[];
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
  readonly #sharing: LinkSharing | undefined;
  readonly #scheduler: Scheduler;
  readonly #facts: OwnFacts;
  readonly #log: Log;
  readonly #book: LinkBook;
  readonly #records: LinkRecords;
  readonly #board: OfferBoard;
  readonly #opener: LinkOpener;
  readonly #acceptor: LinkAcceptor;
  readonly #reconnector: Reconnector;
  readonly #keeper: LinkKeeper;
  readonly #stopping = new AbortController();
  /** Streams that are open, and work that goes on beside them. */
  readonly #running = new Set<Promise<unknown>>();
  #closed: Promise<void> | undefined;
  readonly #connecting = new Map<string, Promise<Link>>();

  private constructor(options: Required<Omit<LinksOptions, "sharing">> & LinksOptions) {
    const { facts, limits, scheduler, clock, log, dialer, random, source, sharing } = options;
    this.#sharing = sharing;
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
        onUp: (link) => this.#keeper.onUp(link),
        onDown: (link, end) => this.#keeper.onDown(link, end),
        readOffer: (offer) => this.#readOffer(offer),
        onOffer: (link) => this.#keeper.onOffer(link),
        onHealthy: (link) => this.#records.noteActivity(link),
      },
    });
    const { table } = this.#book;
    this.executors = new PeerExecutors({
      table,
      collectorId: facts.collectorId,
      hopsMax: limits.meshHopsMax,
      nowMs: () => Number(clock.nowUs() / 1000n),
    });
    table.subscribe(() => sharing?.linksChanged());
    this.guard = new LinkGuard(table, facts.collectorId);
    this.views = new LinkViews({ table, source, facts, clock, sharing, limits });
    this.#board = new OfferBoard({
      source: {
        namespaces: () => source.namespaces(),
        servicesOf: (namespace) => source.servicesOf(namespace),
        remoteServicesOf: (namespace) => this.executors.remoteServicesOf(namespace),
      },
      facts,
      table,
      scheduler,
      log,
      bytesMax: Math.floor(limits.messageBytesMax / 2),
      onChange: (link) => this.#keeper.share(link),
      registrationsOver: ({ connection }) => sharing?.offeredOver(connection) ?? [],
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
    this.#keeper = new LinkKeeper({
      book: this.#book,
      board: this.#board,
      opener: this.#opener,
      executors: this.executors,
      reconnector: this.#reconnector,
      sharing,
      log,
      track: common.track,
      signal: this.#stopping.signal,
    });
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
    for (const link of this.table.all()) this.#keeper.planToDial(link);
    for (const parting of this.#book.partings()) this.#keeper.planToPart(parting);
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
    const link = await this.#connectOnce(request);
    const { sharesRegistrations: added = [] } = request;
    const { sharesRegistrations: known } = link.connection;
    if (added.some((name) => !known.includes(name))) await this.#share(link, [...known, ...added]);
    return link;
  }

  async #connectOnce(request: ConnectRequest): Promise<Link> {
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

  /**
   * Says of which namespaces this end shares registrations over a link, instead of those before.
   *
   * @throws {CollectorError} ARGUMENT_MISSING, LINK_NOT_FOUND, NAME_INVALID, ARGUMENT_INVALID
   */
  async shareRegistrations(id: string, namespaces: readonly string[]): Promise<Link> {
    if (id === "") throw invalidField("ARGUMENT_MISSING", "connection_id", "names no link");
    const link = this.table.byId(id);
    if (link?.isSettled !== true) throw linkNotFound(id);
    checkNamespaces(namespaces, "namespaces");
    await this.#share(link, namespaces);
    return link;
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
        this.#keeper.planToPart(parting);
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

  async #share(link: Link, namespaces: readonly string[]): Promise<void> {
    checkOffered(namespaces, link.connection.offeredNamespaces);
    link.change({ sharesRegistrations: [...new Set(namespaces)].sort() });
    await this.#book.keep(link);
    this.#board.changed();
    this.#sharing?.follow(link);
  }

  #readOffer(offer: Parameters<typeof readOffer>[0]): PeerOffer {
    const { serverVersion } = this.#facts;
    return readOffer(offer, { serverVersion, limits: this.#limits });
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
function checkConnect(request: ConnectRequest, limits: LinkLimits): void {
  const { address, namespaces, labels, sharesRegistrations = [] } = request;
  if (address === "") {
    throw invalidField("ARGUMENT_MISSING", "address", "names no collector; send host:port");
  }
  checkNamespaces(namespaces, "namespaces");
  checkNamespaces(sharesRegistrations, "shares_registrations");
  checkOffered(sharesRegistrations, namespaces);
  checkLabels(labels, limits, "metadata");
}

function checkNamespaces(namespaces: readonly string[], parent: string): void {
  if (namespaces.length > namespacesMax) {
    const text = `has ${namespaces.length} names, the limit is ${namespacesMax}`;
    throw invalidField("ARGUMENT_INVALID", parent, text);
  }
  for (const [index, name] of namespaces.entries()) {
    const field = `${parent}[${index}]`;
    checkNamespaceName(name, field);
    if (name === systemNamespace) {
      throw invalidField("NAME_INVALID", field, "a server's own namespace is not shared");
    }
  }
}

/** @param offered to the other end of the link; empty for all */
function checkOffered(shared: readonly string[], offered: readonly string[]): void {
  if (offered.length === 0) return;
  const other = shared.find((name) => !offered.includes(name));
  if (other === undefined) return;
  const text = `registrations of ${other} cannot be shared: the link offers ${offered.join(", ")} and not that namespace`;
  throw new CollectorError("ARGUMENT_INVALID", text);
}
