import { CollectorError } from "../../errors.ts";
import type { Inbound } from "./inbound.ts";
import type { ServerStream } from "./server-stream.ts";
import { type TimerWheel, WheelEntry } from "./timer-wheel.ts";

/** A call's share of what may wait in memory. */
export interface ReceiveShare extends Disposable {
  /** @throws {CollectorError} OVERLOADED if there is no room for so many bytes */
  set(bytes: number): void;
}

/** A call as its watch sees it. */
export interface Watched {
  readonly isOver: boolean;
  /** Ends the call with the status of `error`, and tells its handler. */
  interrupt(error: CollectorError): void;
}

export interface CallWatchOptions {
  readonly call: Watched;
  readonly stream: ServerStream;
  readonly wheel: TimerWheel;
  readonly openShare: () => ReceiveShare;
  /** How long a peer that owes bytes may send none. */
  readonly streamIdleMs: number;
}

/** A peer that owes bytes must send at least this many, or end a message, within the idle limit. */
const progressBytesMin = 1024;

/** Received bytes up to here are not worth asking the budget for. */
const freeBytes = 64 * 1024;

/** How often the bytes that the engine holds for a paused stream are counted. */
const pausedCheckMs = 100;

/**
 * Watches over what one call may take: time until its deadline, patience with a peer that neither
 * sends what it owes nor takes what it is sent, and memory for what is received and not yet used.
 *
 * A peer that is idle is found out within twice the idle limit.
 */
export class CallWatch extends WheelEntry {
  readonly #options: CallWatchOptions;
  #inbound: Inbound | undefined;
  #share: ReceiveShare | undefined;
  #deadlineMs: number | undefined;
  #isStopped = false;
  #wasOwed = true;
  #inputMarkMs = 0;
  #inputSinceMark = 0;
  #writtenBytes = 0;
  #takenBytesSeen = 0;
  /** Since when nothing is taken of what waits; undefined if nothing waited at the last look. */
  #outputMarkMs: number | undefined;

  constructor(options: CallWatchOptions) {
    super();
    this.#options = options;
  }

  get deadlineMs(): number | undefined {
    return this.#deadlineMs;
  }

  set deadlineMs(value: number | undefined) {
    this.#deadlineMs = value;
    this.#checkAt(performance.now() + this.#options.streamIdleMs);
  }

  /** @param timeoutMs until DEADLINE_EXCEEDED; undefined for no deadline */
  start(timeoutMs: number | undefined): void {
    const nowMs = performance.now();
    this.#inputMarkMs = nowMs;
    if (timeoutMs !== undefined) this.#deadlineMs = nowMs + timeoutMs;
    this.#checkAt(nowMs + this.#options.streamIdleMs);
  }

  watchInput(inbound: Inbound): void {
    this.#inbound = inbound;
  }

  /** Bytes have come in, and are where they belong. @throws {CollectorError} OVERLOADED */
  noteReceived(inbound: Inbound, bytes: number): void {
    const isOwed = inbound.isOwed;
    this.#inputSinceMark += bytes;
    if (isOwed && (!this.#wasOwed || this.#inputSinceMark >= progressBytesMin)) this.#markInput();
    this.#wasOwed = isOwed;
    if (this.#share !== undefined || inbound.bufferedBytes > freeBytes) this.#account(0);
  }

  /** The handler waits for the peer, so that silence counts as idle from now on. */
  noteWait(): void {
    this.#share?.set(this.#inbound?.bufferedBytes ?? 0);
    if (this.#wasOwed) return;
    this.#wasOwed = this.#inbound?.isOwed ?? false;
    this.#markInput();
  }

  /** The stream is paused: what the engine holds meanwhile is counted soon. */
  notePause(): void {
    this.#checkAt(performance.now() + pausedCheckMs);
  }

  noteWritten(bytes: number): void {
    this.#writtenBytes += bytes;
  }

  /** Gives back the memory for what was received. */
  release(): void {
    this.#inbound = undefined;
    this.#share?.[Symbol.dispose]();
    this.#share = undefined;
  }

  /** The stream is gone. */
  stop(): void {
    this.#isStopped = true;
    this.#options.wheel.clear(this);
    this.release();
  }

  override onDue(nowMs: number): void {
    if (this.#isStopped) return;
    const { call, stream, streamIdleMs } = this.#options;
    if (this.#deadlineMs !== undefined && nowMs >= this.#deadlineMs) {
      // An answer that the peer has not taken by its own deadline is of no use to it.
      if (call.isOver) stream.cancel();
      else
        call.interrupt(new CollectorError("DEADLINE_EXCEEDED", "the call's deadline has passed"));
      this.#deadlineMs = undefined;
    } else if (this.#isOutputStuck(nowMs)) {
      call.interrupt(this.#idle("took none of the bytes of the answer"));
      stream.cancel();
    } else if (this.#isInputIdle(nowMs)) {
      call.interrupt(this.#idle("sent no more of its request"));
    } else {
      this.#countHeld();
    }
    const afterMs = stream.heldBytes > 0 ? pausedCheckMs : this.#untilIdleMs(nowMs);
    this.#checkAt(nowMs + Math.min(afterMs, streamIdleMs));
  }

  #checkAt(dueMs: number): void {
    if (this.#isStopped) return;
    const first = this.#deadlineMs === undefined ? dueMs : Math.min(this.#deadlineMs, dueMs);
    this.#options.wheel.set(this, first);
  }

  #markInput(): void {
    this.#inputMarkMs = performance.now();
    this.#inputSinceMark = 0;
  }

  #isInputIdle(nowMs: number): boolean {
    return this.#inbound?.isOwed === true && this.#untilIdleMs(nowMs) <= 0;
  }

  #untilIdleMs(nowMs: number): number {
    const { streamIdleMs } = this.#options;
    return this.#inbound?.isOwed === true ? this.#inputMarkMs + streamIdleMs - nowMs : streamIdleMs;
  }

  #isOutputStuck(nowMs: number): boolean {
    const { bufferedBytes } = this.#options.stream;
    if (bufferedBytes === 0) {
      this.#outputMarkMs = undefined;
      return false;
    }
    const takenBytes = this.#writtenBytes - bufferedBytes;
    if (this.#outputMarkMs === undefined || takenBytes !== this.#takenBytesSeen) {
      this.#takenBytesSeen = takenBytes;
      this.#outputMarkMs = nowMs;
      return false;
    }
    return nowMs - this.#outputMarkMs >= this.#options.streamIdleMs;
  }

  #countHeld(): void {
    const { call, stream } = this.#options;
    if (stream.heldBytes === 0) return;
    try {
      this.#account(stream.heldBytes);
    } catch (error) {
      if (!(error instanceof CollectorError)) throw error;
      call.interrupt(error);
    }
  }

  #account(heldBytes: number): void {
    this.#share ??= this.#options.openShare();
    this.#share.set((this.#inbound?.bufferedBytes ?? 0) + heldBytes);
  }

  #idle(what: string): CollectorError {
    return new CollectorError(
      "DEADLINE_EXCEEDED",
      `the caller ${what} for ${this.#options.streamIdleMs} ms, the limit (streamIdleMs)`,
    );
  }
}
