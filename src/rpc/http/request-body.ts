import { CollectorError } from "../../errors.ts";
import type { Limits } from "../../lib/limits.ts";
import { toConnectError } from "../status.ts";
import type { ReceiveBudget } from "./receive-budget.ts";
import type { HttpRequest } from "./responses.ts";

/** A caller who owes bytes must send at least this many, or end a message, within the idle limit. */
const progressBytesMin = 1024;

/** Bytes before each message of a stream: flags, then the length in four bytes, big end first. */
const envelopeHeaderBytes = 5;

export interface RequestBodyOptions {
  readonly source: HttpRequest;
  /** One bare message, or messages in envelopes. */
  readonly enveloped: boolean;
  /** The answer waits for the end of the body, so the caller owes bytes until then. */
  readonly isAnswerDue: boolean;
  /** Milliseconds from now within which the whole body must be there. */
  readonly timeoutMs: number | undefined;
  readonly limits: Limits;
  readonly budget: ReceiveBudget;
  /** Applied to the bytes as they come, as for gRPC-Web's text form. */
  readonly decode?: (chunk: Uint8Array) => Uint8Array;
}

/**
 * The body of a request, chunk by chunk, with its limits: a message that is too large is refused when
 * its length is known, a caller who owes bytes and sends none runs into a time limit, and what all
 * unfinished messages of the process hold is bounded.
 *
 * What it throws is a ConnectError, so connect-node answers it as it is. Giving up reading leaves
 * the rest of the body unread and the connection open.
 */
export async function* readRequestBody(options: RequestBodyOptions): AsyncGenerator<Uint8Array> {
  const { source, limits, budget } = options;
  const meter = new MessageMeter(options.enveloped, limits.messageBytesMax);
  using held = budget.open();
  using chunks = new ChunkReader(source, limits.streamIdleMs);
  const announced = Number(source.headers["content-length"] ?? 0);
  if (options.timeoutMs !== undefined) chunks.endWithin(options.timeoutMs);
  try {
    if (!options.enveloped) meter.expect(announced);
    let waitedMs = 0;
    let progressBytes = 0;
    for (;;) {
      const owes = options.isAnswerDue || meter.isInside;
      const sinceMs = performance.now();
      const raw = await chunks.next(owes ? limits.streamIdleMs - waitedMs : undefined);
      if (raw === undefined) return;
      // Only the caller's time counts, not ours.
      waitedMs += performance.now() - sinceMs;
      progressBytes += raw.length;
      const chunk = options.decode === undefined ? raw : options.decode(raw);
      meter.add(chunk);
      const hasEnded = options.enveloped && !meter.isInside;
      if (progressBytes >= progressBytesMin || hasEnded) {
        waitedMs = 0;
        progressBytes = 0;
      }
      held.set(meter.pendingBytes);
      yield chunk;
    }
  } catch (error) {
    throw toConnectError(error);
  }
}

/** Knows where in its message a body stands. */
class MessageMeter {
  readonly #enveloped: boolean;
  readonly #bytesMax: number;
  readonly #header = Buffer.alloc(envelopeHeaderBytes);
  #headerBytes = 0;
  #left = 0;
  pendingBytes = 0;

  constructor(enveloped: boolean, bytesMax: number) {
    this.#enveloped = enveloped;
    this.#bytesMax = bytesMax;
  }

  /** Whether a message has begun and is not complete. */
  get isInside(): boolean {
    return this.#headerBytes > 0 || this.#left > 0;
  }

  /** @throws {CollectorError} MESSAGE_TOO_LARGE */
  expect(bytes: number): void {
    if (bytes > this.#bytesMax) throw this.#tooLarge(bytes);
  }

  add(chunk: Uint8Array): void {
    if (!this.#enveloped) {
      this.pendingBytes += chunk.length;
      this.expect(this.pendingBytes);
      return;
    }
    let at = 0;
    while (at < chunk.length) {
      if (this.#left > 0) {
        const taken = Math.min(this.#left, chunk.length - at);
        this.#left -= taken;
        this.pendingBytes = this.#left > 0 ? this.pendingBytes + taken : 0;
        at += taken;
        continue;
      }
      this.#header[this.#headerBytes] = chunk[at] ?? 0;
      this.#headerBytes += 1;
      at += 1;
      if (this.#headerBytes === envelopeHeaderBytes) {
        this.#headerBytes = 0;
        this.#left = this.#header.readUInt32BE(1);
        this.expect(this.#left);
      }
    }
  }

  #tooLarge(bytes: number): CollectorError {
    return new CollectorError(
      "MESSAGE_TOO_LARGE",
      `the message has ${bytes} bytes or more, the limit messageBytesMax is ${this.#bytesMax}`,
    );
  }
}

/** Reads a stream without ever destroying it: the answer still has to go out on its connection. */
class ChunkReader {
  readonly #source: HttpRequest;
  readonly #streamIdleMs: number;
  #failure: CollectorError | undefined;
  #ended = false;
  #wake: (() => void) | undefined;
  #deadline: NodeJS.Timeout | undefined;

  constructor(source: HttpRequest, streamIdleMs: number) {
    this.#source = source;
    this.#streamIdleMs = streamIdleMs;
    this.#ended = source.readableEnded;
    source.on("readable", this.#onChange);
    source.on("end", this.#onEnd);
    source.on("error", this.#onGone);
    source.on("close", this.#onGone);
  }

  endWithin(timeoutMs: number): void {
    this.#deadline = setTimeout(() => {
      this.#fail("DEADLINE_EXCEEDED", "the deadline passed before the request was complete");
    }, timeoutMs);
  }

  /** @param idleMs how much longer to wait; undefined waits as long as the caller stays. */
  async next(idleMs: number | undefined): Promise<Uint8Array | undefined> {
    const timer =
      idleMs === undefined
        ? undefined
        : setTimeout(() => {
            this.#fail(
              "DEADLINE_EXCEEDED",
              `the request made no progress for ${this.#streamIdleMs} ms, the limit streamIdleMs`,
            );
          }, idleMs);
    try {
      for (;;) {
        if (this.#failure !== undefined) throw this.#failure;
        const chunk = this.#source.read() as Uint8Array | null;
        if (chunk !== null) return chunk;
        if (this.#ended) return undefined;
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    } finally {
      clearTimeout(timer);
    }
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#deadline);
    this.#source.off("readable", this.#onChange);
    this.#source.off("end", this.#onEnd);
    this.#source.off("close", this.#onGone);
  }

  readonly #onChange = (): void => {
    this.#wake?.();
  };

  readonly #onEnd = (): void => {
    this.#ended = true;
    this.#wake?.();
  };

  // Stays on for "error": without a listener one that comes late would end the process.
  readonly #onGone = (): void => {
    if (!this.#ended) this.#fail("CANCELLED", "the caller hung up");
  };

  #fail(reason: "DEADLINE_EXCEEDED" | "CANCELLED", message: string): void {
    this.#failure ??= new CollectorError(reason, message);
    this.#wake?.();
  }
}
