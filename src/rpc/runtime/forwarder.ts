import {
  CallFailure,
  type CallOptions,
  type FramedMessage,
  type MetadataEntries,
  type StreamAnswer,
} from "../../mesh/channel.ts";
import type { Executor } from "../../mesh/executor.ts";
import { framed } from "../../mesh/framed.ts";
import type { Router, RouteWish } from "../../mesh/router.ts";
import { handledByHeader, readRoute } from "../../mesh/routing/call-route.ts";
import type { IsRepeatable } from "../../mesh/routing/repeatable.ts";
import { earlyFailure, type RoutedCall, runStream, runUnary } from "../../mesh/run-call.ts";
import type { Call, Invocation, RawMessage } from "../call.ts";
import { forwardedFailure } from "./forwarded-error.ts";
import { forwardedMetadata } from "./forwarded-metadata.ts";
import { bytesOf, fromFramed, isStream, mapEach, toFramed, toRaw } from "./raw-message.ts";

const none: readonly string[] = [];

export interface ForwarderOptions {
  readonly router: Router;
  /** Whether the credentials of callers are for this server and not passed on. */
  readonly hidesCredentials: boolean;
  /** Of this collector. */
  readonly collectorId: string;
  /** Links that a call may travel. */
  readonly hopsMax: number;
  readonly isRepeatable: IsRepeatable;
}

/**
 * Runs calls of registered services by passing their bytes on: no message is decoded. What an
 * implementation answers arrives as it is: headers, messages, trailers, and a failure's status with
 * its details.
 */
export class Forwarder {
  readonly #options: ForwarderOptions;
  /** The way of a call that begins here. */
  readonly #ownRoute: readonly string[];

  constructor(options: ForwarderOptions) {
    this.#options = options;
    this.#ownRoute = [options.collectorId];
  }

  /** For methods of one message both ways. */
  readonly unary: Invocation = (input, call) => {
    const routed = this.#toRouted(call);
    const ended = runUnary(this.#options.router, routed, single(input));
    return ended.then(
      (answer) => {
        if (answer.headers.length > 0) call.responseHeaders.pass(answer.headers);
        const trailers = this.#trailersFor(call, answer.trailers, routed.ranBy);
        if (trailers.length > 0) call.responseTrailers.pass(trailers);
        return toRaw(answer.message);
      },
      (error: unknown) => {
        if (error instanceof CallFailure && error.headers.length > 0) {
          call.responseHeaders.pass(error.headers);
        }
        throw forwardedFailure(error, call.serviceName);
      },
    );
  };

  /** For the other three kinds; the answer is a stream even if it is of one message. */
  readonly stream: Invocation = async (input, call) => {
    const messages = isStream(input) ? mapEach(input, toFramed) : [framed(single(input))];
    try {
      const answer = await runStream(this.#options.router, this.#toRouted(call), messages);
      const headers = await answer.headers;
      if (headers.length > 0) call.responseHeaders.pass(headers);
      if ((await earlyFailure(answer)) === undefined) call.flushHeaders?.();
      return passOn(answer, call);
    } catch (error) {
      throw forwardedFailure(error, call.serviceName);
    }
  };

  #toRouted(call: Call): PassedCall {
    const { collectorId, hidesCredentials, isRepeatable } = this.#options;
    const passed = call.via === undefined ? none : readRoute(call.requestMetadata, this.#options);
    const isFirst = passed.length === 0;
    return new PassedCall(call, {
      metadata: forwardedMetadata(call, hidesCredentials),
      route: isFirst ? this.#ownRoute : [...passed, collectorId],
      wish: isFirst ? call.wish : { ...call.wish, route: passed },
      isRepeatable,
    });
  }

  /** Collectors tell each other who ran a call; to others that is none of what the service has said. */
  #trailersFor(
    call: Call,
    trailers: MetadataEntries,
    ranBy: Executor | undefined,
  ): MetadataEntries {
    if (call.via === undefined) {
      if (ranBy?.kind !== "peer") return trailers;
      return trailers.filter(([name]) => name !== handledByHeader);
    }
    if (ranBy?.kind === "peer") return trailers;
    return [...trailers, [handledByHeader, this.#options.collectorId]];
  }
}

interface PassedCallOptions extends Pick<RoutedCall, "wish" | "isRepeatable"> {
  readonly metadata: MetadataEntries;
  readonly route: readonly string[];
}

/**
 * A call, and what goes on with it, as whoever runs it sees them. One object for both, whose getters make what
 * few ask for: a call that is passed on costs little more than its bytes.
 */
class PassedCall implements RoutedCall, CallOptions {
  readonly namespace: string;
  readonly serviceName: string;
  readonly methodName: string;
  readonly metadata: MetadataEntries;
  readonly route: readonly string[];
  readonly wish: RouteWish | undefined;
  readonly isRepeatable: IsRepeatable | undefined;
  /** What was tried last. */
  ranBy: Executor | undefined;
  readonly #call: Call;

  constructor(call: Call, { metadata, route, wish, isRepeatable }: PassedCallOptions) {
    this.#call = call;
    this.namespace = call.namespace;
    this.serviceName = call.serviceName;
    this.methodName = call.methodName;
    this.metadata = metadata;
    this.route = route;
    this.wish = wish;
    this.isRepeatable = isRepeatable;
  }

  get options(): CallOptions {
    return this;
  }

  get deadlineMs(): number | undefined {
    return this.#call.deadlineMs;
  }

  get signal(): AbortSignal {
    return this.#call.signal;
  }

  get onCancel(): CallOptions["onCancel"] {
    const call = this.#call;
    if (call.onCancel === undefined) return undefined;
    return (cancel) => call.onCancel?.(cancel);
  }

  onTry(executor: Executor): void {
    this.ranBy = executor;
    this.#call.executorId = executor.id;
  }
}

/** @throws {TypeError} for a stream: the transport gives none to a method that takes one message */
function single(input: Parameters<Invocation>[0]): Uint8Array {
  if (isStream(input)) throw new TypeError("one message is passed on, and a stream came");
  return bytesOf(input);
}

/** The messages of an answer; its trailers are passed on when they have been read. */
function passOn(
  answer: StreamAnswer<FramedMessage>,
  call: Call,
): AsyncIterableIterator<RawMessage, undefined> {
  const { messages } = answer;
  const passed: AsyncIterableIterator<RawMessage, undefined> = {
    [Symbol.asyncIterator]: () => passed,
    next: async () => {
      try {
        const result = await messages.next();
        if (result.done !== true) return { done: false, value: fromFramed(result.value) };
        const { trailers } = await answer.end;
        if (trailers.length > 0) call.responseTrailers.pass(trailers);
        return { done: true, value: undefined };
      } catch (error) {
        throw forwardedFailure(error, call.serviceName);
      }
    },
    return: async () => {
      await messages.return?.();
      return { done: true, value: undefined };
    },
  };
  return passed;
}
