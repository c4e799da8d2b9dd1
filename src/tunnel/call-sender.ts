import type { TunnelFrame } from "../gen/collector/tunnel_pb.ts";
import {
  costOf,
  type FrameBody,
  partBytesMax,
  roomIn,
  tunnelFault,
  windowBytes,
} from "./frames.ts";

/** Messages of a call that may wait here before whoever makes them is held back, as they cost. */
const queueBytesMax = 64 * 1024;

/** A piece of a message that is shorter than this waits for more of the window, unless it is the last. */
const partBytesMin = 4 * 1024;

/** Where a sender says that it has a frame. */
export interface Outlet {
  ready(sender: CallSender): void;
  remove(sender: CallSender): void;
}

/** The frames of one side of one call, which go out when they are asked for and the window allows it. */
export class CallSender {
  readonly callId: bigint;
  readonly #outlet: Outlet;
  readonly #onClosed: () => void;
  /** Go first, in order. */
  readonly #opening: (() => FrameBody)[] = [];
  readonly #messages: Uint8Array[] = [];
  #queuedBytes = 0;
  /** How much of the first message is out. */
  #offset = 0;
  /** Goes behind the messages. */
  #ending: FrameBody | undefined;
  #isLastFrame = false;
  #credit = windowBytes;
  /** What the other side is given back with the next frame. */
  #grant = 0;
  #wake: (() => void) | undefined;
  #hasBegun = false;
  #isClosed = false;

  /** @param onClosed called when the last frame is taken */
  constructor(callId: bigint, outlet: Outlet, onClosed: () => void = () => undefined) {
    this.callId = callId;
    this.#outlet = outlet;
    this.#onClosed = onClosed;
  }

  /** Whether a frame of it was taken by the transport. */
  get hasBegun(): boolean {
    return this.#hasBegun;
  }

  /** Whether there is a frame that may go now. */
  get isReady(): boolean {
    if (this.#opening.length > 0 || this.#grant > 0) return true;
    return this.#messages.length > 0 ? this.#pieceBytes() >= 0 : this.#ending !== undefined;
  }

  /** Sends a frame ahead of every message. @param make called when the frame goes */
  open(make: () => FrameBody): void {
    if (this.#isClosed) return;
    this.#opening.push(make);
    this.#outlet.ready(this);
  }

  /** Sends a message; what it returns is waited for before the next one. */
  send(message: Uint8Array): Promise<void> | undefined {
    if (this.#isClosed) return undefined;
    this.#messages.push(message);
    this.#queuedBytes += costOf(message.byteLength);
    this.#notify();
    if (this.#queuedBytes < queueBytesMax) return undefined;
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  /** Sends a frame behind the messages, after which there are no more. */
  endMessages(frame: FrameBody): void {
    if (this.#isClosed) return;
    this.#ending = frame;
    this.#notify();
  }

  /** Sends the last frame, behind the messages. */
  close(frame: FrameBody): void {
    this.#isLastFrame = true;
    this.endMessages(frame);
  }

  /** Drops the messages that were not sent. */
  dropMessages(): void {
    this.#messages.length = 0;
    this.#queuedBytes = 0;
    this.#offset = 0;
    this.#release();
  }

  /** Drops what was not sent. `frame` is the only one that still goes, if there is one. */
  abandon(frame?: FrameBody): void {
    if (this.#isClosed) return;
    this.#opening.length = 0;
    this.#grant = 0;
    this.dropMessages();
    this.#ending = frame;
    this.#isLastFrame = true;
    if (frame !== undefined) {
      this.#outlet.ready(this);
      return;
    }
    this.#isClosed = true;
    this.#outlet.remove(this);
  }

  /** The other side has taken so much. */
  addCredit(bytes: number): void {
    if (bytes === 0 || this.#credit + bytes > windowBytes) {
      throw tunnelFault(this.callId, `a window of ${bytes} bytes more than was used`);
    }
    this.#credit += bytes;
    this.#notify();
  }

  /** This side has taken so much. */
  grant(bytes: number): void {
    if (this.#isClosed || this.#isLastFrame) return;
    this.#grant += bytes;
    this.#outlet.ready(this);
  }

  /** The next frame that may go; undefined if there is none. */
  take(): TunnelFrame | undefined {
    const frame = this.#next();
    if (frame === undefined) return undefined;
    this.#hasBegun = true;
    return { $typeName: "collector.TunnelFrame", callId: this.callId, frame };
  }

  #next(): FrameBody | undefined {
    const make = this.#opening.shift();
    if (make !== undefined) return make();
    if (this.#grant > 0) {
      const value = this.#grant;
      this.#grant = 0;
      return { case: "window", value };
    }
    if (this.#messages.length > 0) return this.#nextPiece();
    const ending = this.#ending;
    this.#ending = undefined;
    if (ending !== undefined && this.#isLastFrame) {
      this.#isClosed = true;
      this.#onClosed();
    }
    return ending;
  }

  #nextPiece(): FrameBody | undefined {
    const [message] = this.#messages;
    const length = this.#pieceBytes();
    if (message === undefined || length < 0) return undefined;
    const end = this.#offset + length;
    this.#credit -= costOf(length);
    if (end < message.byteLength) {
      const value = message.subarray(this.#offset, end);
      this.#offset = end;
      return { case: "part", value };
    }
    const value = this.#offset === 0 ? message : message.subarray(this.#offset);
    this.#offset = 0;
    this.#messages.shift();
    this.#queuedBytes -= costOf(message.byteLength);
    if (this.#queuedBytes < queueBytesMax) this.#release();
    return { case: "message", value };
  }

  /** How many bytes of the first message may go now; negative if it has to wait. */
  #pieceBytes(): number {
    const rest = (this.#messages[0]?.byteLength ?? 0) - this.#offset;
    const room = roomIn(this.#credit);
    if (room < Math.min(rest, partBytesMin)) return -1;
    return Math.min(rest, room, partBytesMax);
  }

  #notify(): void {
    if (this.isReady) this.#outlet.ready(this);
  }

  #release(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }
}
