import type { StreamAnswer } from "../../mesh/channel.ts";
import type { Router } from "../../mesh/router.ts";
import { earlyFailure, type RoutedCall, runStream, runUnary } from "../../mesh/run-call.ts";
import type { Call, Invocation, RawMessage } from "../call.ts";
import { forwardedFailure } from "./forwarded-error.ts";
import { forwardedMetadata } from "./forwarded-metadata.ts";
import { bytesOf, isStream, mapEach, toRaw } from "./raw-message.ts";

export interface ForwarderOptions {
  readonly router: Router;
  /** Whether the credentials of callers are for this server and not passed on. */
  readonly hidesCredentials: boolean;
}

/**
 * Runs calls of registered services by passing their bytes on: no message is decoded. What an
 * implementation answers arrives as it is: headers, messages, trailers, and a failure's status with
 * its details.
 */
export class Forwarder {
  readonly #options: ForwarderOptions;

  constructor(options: ForwarderOptions) {
    this.#options = options;
  }

  /** For methods of one message both ways. */
  readonly unary: Invocation = async (input, call) => {
    try {
      const answer = await runUnary(this.#options.router, this.#toRouted(call), single(input));
      if (answer.headers.length > 0) call.responseHeaders.pass(answer.headers);
      if (answer.trailers.length > 0) call.responseTrailers.pass(answer.trailers);
      return toRaw(answer.message);
    } catch (error) {
      throw forwardedFailure(error, call.serviceName);
    }
  };

  /** For the other three kinds; the answer is a stream even if it is of one message. */
  readonly stream: Invocation = async (input, call) => {
    const messages = isStream(input) ? mapEach(input, bytesOf) : [single(input)];
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

  #toRouted(call: Call): RoutedCall {
    return {
      namespace: call.namespace,
      serviceName: call.serviceName,
      methodName: call.methodName,
      options: {
        metadata: forwardedMetadata(call, this.#options.hidesCredentials),
        deadlineMs: call.deadlineMs,
        signal: call.signal,
      },
      onTry: ({ id }) => {
        call.executorId = id;
      },
    };
  }
}

/** @throws {TypeError} for a stream: the transport gives none to a method that takes one message */
function single(input: Parameters<Invocation>[0]): Uint8Array {
  if (isStream(input)) throw new TypeError("one message is passed on, and a stream came");
  return bytesOf(input);
}

/** The messages of an answer; its trailers are passed on when they have been read. */
function passOn(answer: StreamAnswer, call: Call): AsyncIterableIterator<RawMessage, undefined> {
  const { messages } = answer;
  const passed: AsyncIterableIterator<RawMessage, undefined> = {
    [Symbol.asyncIterator]: () => passed,
    next: async () => {
      try {
        const result = await messages.next();
        if (result.done !== true) return { done: false, value: toRaw(result.value) };
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
