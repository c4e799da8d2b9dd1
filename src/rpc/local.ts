import {
  create,
  type DescMessage,
  type DescMethodUnary,
  type Message,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import { CollectorError } from "../errors.ts";
import type { Call, RequestMetadata, ResponseMetadata, Routes } from "./call.ts";
import { namespaceHeader } from "./interceptors/namespace.ts";

/** How a call from inside the process is made. */
export interface LocalCallOptions {
  /** Namespace of a request that has no field for it. */
  readonly namespace?: string;
  readonly signal?: AbortSignal;
  /** Longest time the call may take, in ms; unlimited by default. */
  readonly timeoutMs?: number;
}

/** Makes calls from inside the process: no socket, the same interceptors. */
export type LocalCaller = <I extends DescMessage, O extends DescMessage>(
  method: DescMethodUnary<I, O>,
  request: MessageInitShape<I>,
  options?: LocalCallOptions,
) => Promise<MessageShape<O>>;

/**
 * @param newRequestId makes the id under which a call is logged
 * @returns a caller that fails with what a remote caller would see: ConnectError with details
 */
export function createLocalCaller(routes: Routes, newRequestId: () => string): LocalCaller {
  return async <I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    options: LocalCallOptions = {},
  ) => {
    const bound = routes.find(method.parent.typeName, method.name);
    if (bound === undefined) {
      throw new CollectorError(
        "METHOD_UNIMPLEMENTED",
        `${method.parent.typeName}/${method.name} is not served here`,
      );
    }
    const answer = await bound.invoke(
      create(method.input as DescMessage, request) as Message,
      localCall(method, options, newRequestId()),
    );
    return answer as MessageShape<O>;
  };
}

function localCall(method: DescMethodUnary, options: LocalCallOptions, requestId: string): Call {
  const { timeoutMs, namespace } = options;
  const signals = [
    ...(options.signal === undefined ? [] : [options.signal]),
    ...(timeoutMs === undefined ? [] : [AbortSignal.timeout(timeoutMs)]),
  ];
  return {
    serviceName: method.parent.typeName,
    methodName: method.name,
    protocol: "local",
    peer: "local",
    requestId,
    namespace: "",
    deadlineMs: timeoutMs === undefined ? undefined : performance.now() + timeoutMs,
    signal: AbortSignal.any(signals),
    requestMetadata: new LocalMetadata(namespace),
    responseHeaders: discarded,
    responseTrailers: discarded,
  };
}

class LocalMetadata implements RequestMetadata {
  readonly #namespace: string | undefined;

  constructor(namespace: string | undefined) {
    this.#namespace = namespace;
  }

  get(name: string): string | undefined {
    return name === namespaceHeader ? this.#namespace : undefined;
  }

  getBinary(): undefined {
    return undefined;
  }

  entries(): Iterable<readonly [string, string]> {
    return this.#namespace === undefined ? [] : [[namespaceHeader, this.#namespace]];
  }
}

/** What a handler sets on an answer that stays in the process has no reader. */
const discarded: ResponseMetadata = { set: () => undefined, pass: () => undefined };
