import { clone, create } from "@bufbuild/protobuf";
import { type Connection, ConnectionSchema } from "../../gen/collector/dispatcher_pb.ts";
import {
  type LinkOffer,
  LinkState,
  type LinkStatus,
  LinkStatusSchema,
} from "../../gen/collector/mesh_pb.ts";
import type { Channel } from "../channel.ts";
import type { StreamCalls } from "./link-calls.ts";
import { LinkChannel } from "./link-channel.ts";
import type { LinkSession, SessionEnd } from "./link-session.ts";
import type { PeerOffer } from "./peer-offer.ts";
import { timestampOfUs } from "./timestamps.ts";

/** A stream that carries a link, with what belongs to it. */
export interface LiveStream {
  readonly session: LinkSession;
  /** Of the link as long as the stream lasts; both ends know it. */
  readonly secret: Uint8Array;
  /** Dials the other end; undefined if that is not possible, or not tried yet. */
  readonly dialled: () => Channel | undefined;
  /** Calls that travel over the stream itself. */
  readonly calls: StreamCalls;
  /** The other end has confirmed it: from now on it carries the link. */
  readonly onUp: () => void;
  /** The link is up by it, or the other end's offer has changed meanwhile. */
  readonly onOffer: (offer: PeerOffer) => void;
  /** Gives back what belongs to the stream. */
  readonly close: () => void;
}

/** What a link tells whoever keeps all of them. */
export interface LinkListener {
  /** Calls can travel; the other end is known to be there. */
  onUp(link: Link): void;
  /** It was up, or coming up, and is not any more. */
  onDown(link: Link, end: SessionEnd): void;
  /** What the other end offers has changed. @throws {CollectorError} if the offer is no good */
  readOffer(offer: LinkOffer): PeerOffer;
  onOffer(link: Link): void;
  onHealthy(link: Link): void;
}

const nothingShared: ReadonlyMap<string, string> = new Map();

/** A link to another collector: what is kept of it, and the stream that carries it now. */
export class Link {
  readonly peerId: string;
  readonly channel: LinkChannel;
  readonly #listener: LinkListener;
  #connection: Connection;
  #live: LiveStream | undefined;
  #offer: PeerOffer | undefined;
  #isUp = false;
  /** Whether it lasts longer than the stream that is about to carry it for the first time. */
  #isSettled: boolean;
  #problem = "it was not established since the start of this server";
  #roundTripMs: number | undefined;
  #ups = 0;
  /** When it was last heard of, if that is not in what is kept yet. */
  #activeUs: bigint | undefined;
  /** Calls to the other end that are under way. Whoever makes them counts them. */
  callsInFlight = 0;
  readonly #answered: (() => void)[] = [];

  /** @param isSettled false until the other end has confirmed that there is a link */
  constructor(connection: Connection, peerId: string, isSettled: boolean, listener: LinkListener) {
    this.peerId = peerId;
    this.#connection = connection;
    this.#isSettled = isSettled;
    this.#listener = listener;
    this.channel = new LinkChannel({
      endpoint: `the link to collector ${peerId}`,
      ways: () => this.#ways(),
      credential: () => `${this.id}.${Buffer.from(this.#live?.secret ?? []).toString("hex")}`,
      problem: () => this.#problem,
    });
  }

  get id(): string {
    return this.#connection.id;
  }

  /** As it is kept. Not to be changed. */
  get connection(): Connection {
    const activeUs = this.#activeUs;
    if (activeUs !== undefined) {
      this.#activeUs = undefined;
      this.change({ lastActivity: timestampOfUs(activeUs) });
    }
    return this.#connection;
  }

  get live(): LiveStream | undefined {
    return this.#live;
  }

  /** What the other end said last; undefined until it was up once. */
  get offer(): PeerOffer | undefined {
    return this.#offer;
  }

  get isUp(): boolean {
    return this.#isUp;
  }

  /** Whether the other end takes new calls. */
  get isReady(): boolean {
    return this.#isUp && this.#offer?.isLeaving !== true;
  }

  get isSettled(): boolean {
    return this.#isSettled;
  }

  get problem(): string {
    if (!this.#isUp) return this.#problem;
    return this.isReady ? "" : "the other end is about to stop";
  }

  set problem(text: string) {
    this.#problem = text;
  }

  /** Namespaces whose registrations the other end shares, with a digest of each, in hex. */
  get sharedByPeer(): ReadonlyMap<string, string> {
    return this.#offer?.registrations ?? nothingShared;
  }

  get roundTripMs(): number | undefined {
    return this.#roundTripMs;
  }

  /** Whether this collector was told to Connect, and so has to dial. */
  get isSource(): boolean {
    return this.#connection.targetCollectorId === this.peerId;
  }

  /** It was heard of. */
  noteActivity(nowUs: bigint): void {
    this.#activeUs = nowUs;
  }

  /** Changes what is kept. Whoever calls it also writes it. */
  change(changes: Partial<Connection>): Connection {
    this.#connection = create(ConnectionSchema, {
      ...clone(ConnectionSchema, this.#connection),
      ...changes,
    });
    return this.#connection;
  }

  /**
   * Lets a stream carry the link from now on; one that did so before is dropped.
   *
   * @param isConfirmed whether the other end is known to agree; otherwise the first thing that it says
   * confirms it
   */
  attach(live: LiveStream, offer: PeerOffer, isConfirmed: boolean): Promise<SessionEnd> {
    this.#release();
    this.#live = live;
    this.#offer = offer;
    if (isConfirmed) this.#goUp();
    return live.session.run({
      onHeard: () => {
        if (this.#live === live && !this.#isUp) this.#goUp();
      },
      onOffer: (next) => {
        if (this.#live !== live) return;
        this.#offer = this.#listener.readOffer(next);
        live.onOffer(this.#offer);
        this.#listener.onOffer(this);
      },
      onFrames: (frames) => live.calls.accept(frames),
      onAnswered: (roundTripMs) => {
        this.#roundTripMs = roundTripMs;
        for (const resolve of this.#answered.splice(0)) resolve();
        this.#listener.onHealthy(this);
      },
      onEnd: (end) => {
        live.calls.close(`is not linked any more: ${end.problem}`);
        live.close();
        if (this.#live !== live) return;
        this.#live = undefined;
        this.#goDown(end);
      },
    });
  }

  /** Resolves when a health check is answered, or the link goes down. */
  whenAnswered(): Promise<void> {
    if (this.#live === undefined || this.#roundTripMs !== undefined) return Promise.resolve();
    return new Promise((resolve) => this.#answered.push(resolve));
  }

  /** Ends the stream, if there is one, without a word to the listener. */
  abandon(problem: string): void {
    this.#release();
    this.#isUp = false;
    this.#problem = problem;
    for (const resolve of this.#answered.splice(0)) resolve();
  }

  toStatus(): LinkStatus {
    const dialled = this.#isUp ? this.#live?.dialled() : undefined;
    return create(LinkStatusSchema, {
      connection: this.connection,
      state: this.#isUp ? LinkState.UP : LinkState.DOWN,
      problem: this.problem,
      dials: dialled !== undefined && dialled.state !== "failing",
      roundTripUs: BigInt(Math.round((this.#roundTripMs ?? 0) * 1000)),
      callsInFlight: BigInt(this.callsInFlight),
      reconnects: BigInt(Math.max(0, this.#ups - 1)),
    });
  }

  #ways(): readonly Channel[] {
    const live = this.#live;
    if (live === undefined || !this.#isUp) return [];
    return [live.dialled(), live.calls.channel].filter((way) => way !== undefined);
  }

  #goUp(): void {
    this.#isUp = true;
    this.#isSettled = true;
    this.#ups += 1;
    const { live, offer } = this;
    live?.onUp();
    if (live !== undefined && offer !== undefined) live.onOffer(offer);
    this.#listener.onUp(this);
  }

  #goDown(end: SessionEnd): void {
    this.#isUp = false;
    this.#problem = end.problem;
    this.#roundTripMs = undefined;
    for (const resolve of this.#answered.splice(0)) resolve();
    this.#listener.onDown(this, end);
  }

  /** What was said already still gets there: the other end has to see why. */
  #release(): void {
    const live = this.#live;
    this.#live = undefined;
    live?.session.leave(false);
  }
}
