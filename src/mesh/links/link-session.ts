import type { LinkOffer } from "../../gen/collector/mesh_pb.ts";
import type { TunnelFrames } from "../../gen/collector/tunnel_pb.ts";
import type { Scheduler } from "../../lib/scheduler.ts";
import { goodbye, type LinkStep } from "./link-step.ts";
import { Outbox } from "./outbox.ts";

/** How a session ended. */
export interface SessionEnd {
  /** The other end has removed the link for good. */
  readonly removed: boolean;
  /** For people. */
  readonly problem: string;
}

/** What a session tells its link. */
export interface SessionListener {
  /** The other end has said something that is no goodbye; what it was follows. */
  onHeard(): void;
  onOffer(offer: LinkOffer): void;
  onFrames(frames: TunnelFrames): void;
  /** A health check was answered. */
  onAnswered(roundTripMs: number): void;
  /** Called once; nothing follows. */
  onEnd(end: SessionEnd): void;
}

export interface SessionTimes {
  /** How often the other end's health is checked. */
  readonly linkPingMs: number;
  /** How long a check may stay unanswered while nothing else is heard. */
  readonly linkTimeoutMs: number;
}

export interface SessionOptions {
  /** Collector that opened the stream. */
  readonly openerId: string;
  /** Whether that is this one. It checks more often: the other end hears of it by that. */
  readonly isOpener: boolean;
  /** What the other end says, behind its first offer. */
  readonly incoming: AsyncIterator<LinkStep, undefined>;
  readonly outbox: Outbox;
  readonly scheduler: Scheduler;
  readonly times: SessionTimes;
  /** Ends the stream at once, whatever is still to be sent. */
  readonly abort: () => void;
}

/** The end that was dialled makes a check of its own only so rarely, as long as it hears the other one. */
const checksBetween = 12;

/** A check that is never answered is given up after so many times `linkTimeoutMs`, whatever else is heard. */
const silentTimesMax = 3;

/** How long the end of a stream may take once this end has said goodbye. */
export const goodbyeMs = 2000;

/** One stream of a link, from the offers until it ends: reads it, answers health checks and makes them. */
export class LinkSession {
  readonly openerId: string;
  readonly #options: SessionOptions;
  readonly #checks: ((isAlive: boolean) => void)[] = [];
  #listener: SessionListener | undefined;
  #timer: Disposable | undefined;
  /** The check that is not answered yet. */
  #ping: { readonly id: bigint; readonly sentMs: number } | undefined;
  #pings = 0n;
  /** Times that it was asked whether a check is due. */
  #looks = 0;
  #heardMs: number;
  #end: SessionEnd | undefined;
  #isLeaving = false;
  /** The other end said goodbye: what is under way still gets there. */
  #isPolite = false;
  readonly #ended = Promise.withResolvers<void>();

  constructor(options: SessionOptions) {
    this.openerId = options.openerId;
    this.#options = options;
    this.#heardMs = options.scheduler.nowMs();
  }

  /** Reads the stream until it ends, which resolves; never rejects. */
  async run(listener: SessionListener): Promise<SessionEnd> {
    this.#listener = listener;
    const { incoming, scheduler } = this.#options;
    this.#check();
    try {
      while (this.#end === undefined) {
        const result = await incoming.next();
        if (this.#end !== undefined) break;
        if (result.done === true) {
          this.#finish({ removed: false, problem: "the other end has closed the link" });
          break;
        }
        this.#heardMs = scheduler.nowMs();
        if (result.value.case !== "goodbye") listener.onHeard();
        this.#take(result.value);
      }
    } catch (error) {
      const problem = error instanceof Error ? error.message : String(error);
      this.#finish({ removed: false, problem });
    }
    if (this.#isPolite) await this.#drain();
    return this.#end ?? { removed: false, problem: "" };
  }

  /** Resolves when it is over. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  send(step: LinkStep): void {
    this.#options.outbox.push(step);
  }

  /** Checks now. @returns whether it was answered within `ms` */
  isAlive(ms: number): Promise<boolean> {
    if (this.#end !== undefined) return Promise.resolve(false);
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const timer = this.#options.scheduler.after(ms, () => resolve(false));
    this.#checks.push(resolve);
    if (this.#ping === undefined) this.#sendPing();
    return promise.finally(() => {
      timer[Symbol.dispose]();
      const at = this.#checks.indexOf(resolve);
      if (at >= 0) this.#checks.splice(at, 1);
    });
  }

  /**
   * Says goodbye and ends what is sent. The session is over when the other end has answered, or some
   * seconds later.
   */
  leave(removed: boolean): void {
    if (this.#end !== undefined || this.#isLeaving) return;
    this.#isLeaving = true;
    const { outbox, scheduler } = this.#options;
    outbox.push(goodbye(removed));
    outbox.end();
    this.#timer?.[Symbol.dispose]();
    this.#timer = scheduler.after(goodbyeMs, () => {
      this.drop("the other end did not say goodbye");
    });
  }

  /** Ends the stream at once. */
  drop(problem: string): void {
    this.#finish({ removed: false, problem });
  }

  #take(step: LinkStep): void {
    switch (step.case) {
      case "offer":
        this.#listener?.onOffer(step.value);
        break;
      case "frames":
        this.#listener?.onFrames(step.value);
        break;
      case "ping":
        if (step.value.isAnswer) this.#takeAnswer(step.value.id);
        else this.send({ case: "ping", value: { ...step.value, isAnswer: true } });
        break;
      case "goodbye":
        this.#takeGoodbye(step.value.removed);
        break;
    }
  }

  #takeAnswer(id: bigint): void {
    const ping = this.#ping;
    if (ping === undefined || ping.id !== id) return;
    this.#ping = undefined;
    for (const resolve of this.#checks.splice(0)) resolve(true);
    this.#listener?.onAnswered(this.#options.scheduler.nowMs() - ping.sentMs);
  }

  #takeGoodbye(removed: boolean): void {
    // Who hears that the link is gone says so too, so that the other end can forget it.
    if (removed) this.#options.outbox.push(goodbye(true));
    this.#options.outbox.end();
    const problem = removed ? "the other end has removed the link" : "the other end has stopped";
    this.#isPolite = true;
    this.#finish({ removed, problem });
  }

  #check(): void {
    if (this.#end !== undefined || this.#isLeaving) return;
    const { scheduler, times } = this.#options;
    const { linkPingMs, linkTimeoutMs } = times;
    const nowMs = scheduler.nowMs();
    if (this.#ping === undefined) {
      if (this.#isCheckDue(nowMs)) this.#sendPing();
    } else {
      const waitedMs = nowMs - this.#ping.sentMs;
      const isSilent = nowMs - this.#heardMs > linkTimeoutMs && waitedMs > linkTimeoutMs;
      if (isSilent || waitedMs > silentTimesMax * linkTimeoutMs) {
        this.drop(`the other end has not answered a health check for ${Math.round(waitedMs)} ms`);
        return;
      }
    }
    // Many links must not check in step.
    const jitter = 0.8 + 0.4 * Math.random();
    this.#timer = scheduler.after(Math.min(linkPingMs, linkTimeoutMs) * jitter, () => {
      this.#check();
    });
  }

  #isCheckDue(nowMs: number): boolean {
    this.#looks += 1;
    const { isOpener, times } = this.#options;
    const isQuiet = nowMs - this.#heardMs > 2 * times.linkPingMs;
    return isOpener || isQuiet || this.#looks % checksBetween === 1;
  }

  #sendPing(): void {
    this.#pings += 1n;
    this.#ping = { id: this.#pings, sentMs: this.#options.scheduler.nowMs() };
    this.send({
      case: "ping",
      value: { $typeName: "collector.LinkPing", id: this.#pings, isAnswer: false },
    });
  }

  /** Waits for the end of the stream, so that it is not cancelled before the goodbye is there. */
  async #drain(): Promise<void> {
    const { incoming, scheduler, abort } = this.#options;
    using _timer = scheduler.after(goodbyeMs, abort);
    try {
      while ((await incoming.next()).done !== true);
    } catch {
      // It broke off: then that was its end.
    }
  }

  #finish(end: SessionEnd): void {
    if (this.#end !== undefined) return;
    this.#end = end;
    this.#timer?.[Symbol.dispose]();
    for (const resolve of this.#checks.splice(0)) resolve(false);
    this.#options.outbox.end();
    if (!this.#isPolite) this.#options.abort();
    this.#listener?.onEnd(end);
    this.#ended.resolve();
  }
}
