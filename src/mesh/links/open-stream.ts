import { CollectorError, type ErrorReason } from "../../errors.ts";
import type { Scheduler } from "../../lib/scheduler.ts";
import { CallFailure, type Channel, type Dialer } from "../channel.ts";
import { remoteErrorOf } from "../remote-error.ts";
import { goodbyeMs } from "./link-session.ts";
import { decodeAnswer, encodeStep, goodbye, type LinkStep, linkPath } from "./link-step.ts";
import { Outbox } from "./outbox.ts";

export interface OpenOptions {
  readonly dialer: Dialer;
  readonly scheduler: Scheduler;
  /** How long the other end may take to answer, connecting included. */
  readonly handshakeMs: number;
  readonly address: string;
  /** Of the request that holds the address. */
  readonly field: string;
  readonly first: LinkStep;
  readonly signal?: AbortSignal | undefined;
}

/** A stream whose other end has answered. Whoever has it ends it. */
export interface OpenStream {
  readonly answer: LinkStep;
  /** To the same collector, for calls. */
  readonly channel: Channel;
  readonly incoming: AsyncIterator<LinkStep, undefined>;
  readonly outbox: Outbox;
  readonly abort: () => void;
}

/** Codes of gRPC that say: there is no such method, or no gRPC at all. */
const foreignCodes: ReadonlySet<number> = new Set([2, 12]);

/** What another collector may refuse a link for, and is passed on as it is. */
const passedOn: ReadonlySet<string> = new Set<ErrorReason>([
  "LINK_INCOMPATIBLE",
  "LINK_LIMIT_EXCEEDED",
  "UNAUTHENTICATED",
  "PERMISSION_DENIED",
  "OVERLOADED",
]);

/**
 * Opens the stream of a link and waits for the first thing that the other end says.
 *
 * @throws {CollectorError} PEER_DENIED, PEER_UNAVAILABLE, PEER_NOT_COLLECTOR, CANCELLED, and what the
 * other end refuses it for: LINK_INCOMPATIBLE, LINK_LIMIT_EXCEEDED, PEER_REFUSED and the like
 */
export async function openStream(options: OpenOptions): Promise<OpenStream> {
  const { dialer, scheduler, handshakeMs, address, field, first, signal } = options;
  const channel = dialer.dial(address, field);
  const controller = new AbortController();
  const abort = (): void => controller.abort(new CollectorError("CANCELLED", "the link is closed"));
  const outbox = new Outbox(abort);
  outbox.push(first);
  const onAbort = (): void => controller.abort(signal?.reason);
  signal?.addEventListener("abort", onAbort, { once: true });
  if (signal?.aborted === true) onAbort();
  const timer = scheduler.after(handshakeMs, () => {
    const text = `${address} has not answered within ${handshakeMs} ms`;
    controller.abort(new CollectorError("PEER_UNAVAILABLE", text));
  });
  try {
    const { messages } = channel.stream(linkPath, encodeEach(outbox), {
      signal: controller.signal,
    });
    const incoming = decodeEach(messages);
    const result = await incoming.next();
    if (result.done === true) throw notCollector(address);
    return { answer: result.value, channel, incoming, outbox, abort };
  } catch (error) {
    outbox.end();
    abort();
    await channel[Symbol.asyncDispose]();
    throw toRefusal(error, address, field);
  } finally {
    timer[Symbol.dispose]();
    signal?.removeEventListener("abort", onAbort);
  }
}

/** Ends a stream that carries no link: says goodbye and lets that get there. Never rejects. */
export async function endStream(
  stream: OpenStream,
  removed: boolean,
  scheduler: Scheduler,
): Promise<void> {
  const { outbox, incoming, abort, channel } = stream;
  using _timer = scheduler.after(goodbyeMs, abort);
  outbox.push(goodbye(removed));
  outbox.end();
  try {
    while ((await incoming.next()).done !== true);
  } catch {
    // It broke off: then that was its end.
  }
  await channel[Symbol.asyncDispose]();
}

function encodeEach(outbox: Outbox): AsyncIterableIterator<Uint8Array, undefined> {
  const iterator: AsyncIterableIterator<Uint8Array, undefined> = {
    async next() {
      const result = await outbox.next();
      return result.done === true ? result : { done: false, value: encodeStep(result.value) };
    },
    async return() {
      await outbox.return();
      return { done: true, value: undefined };
    },
    [Symbol.asyncIterator]: () => iterator,
  };
  return iterator;
}

function decodeEach(
  messages: AsyncIterator<Uint8Array, undefined>,
): AsyncIterator<LinkStep, undefined> {
  return {
    async next() {
      const result = await messages.next();
      return result.done === true ? result : { done: false, value: decodeAnswer(result.value) };
    },
    async return() {
      await messages.return?.();
      return { done: true, value: undefined };
    },
  };
}

/** Why there is no link, for whoever asked for it. */
function toRefusal(error: unknown, address: string, field: string): unknown {
  if (!(error instanceof CallFailure)) return error;
  const { message, reason } = error;
  if (reason === "PEER_DENIED") {
    return new CollectorError("PEER_DENIED", `${field}: ${message}`, {
      violations: [{ field, description: message }],
      cause: error,
    });
  }
  if (reason !== undefined) {
    return new CollectorError(reason, `cannot reach ${address}: ${message}`, { cause: error });
  }
  const remote = remoteErrorOf(error);
  if (remote === undefined || remote.reason.startsWith("METHOD_")) {
    if (remote !== undefined || foreignCodes.has(error.code)) return notCollector(address, error);
    const text = `cannot reach ${address}: ${message}`;
    return new CollectorError("PEER_UNAVAILABLE", text, { cause: error });
  }
  if (remote.reason === "SHUTTING_DOWN") {
    const text = `the collector at ${address} is shutting down`;
    return new CollectorError("PEER_UNAVAILABLE", text, { cause: error });
  }
  const known = passedOn.has(remote.reason) ? (remote.reason as ErrorReason) : "PEER_REFUSED";
  const text = `the collector at ${address} refuses the link: ${message}`;
  return new CollectorError(known, text, { subject: remote.subject, cause: error });
}

function notCollector(address: string, cause?: unknown): CollectorError {
  return new CollectorError(
    "PEER_NOT_COLLECTOR",
    `what answers at ${address} is no collector that takes links`,
    { cause },
  );
}
