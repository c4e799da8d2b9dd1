import type { DescMethod } from "@bufbuild/protobuf";
import { CollectorError, type ErrorReason } from "../../errors.ts";
import type { Limits } from "../../lib/limits.ts";
import type { LinkCallHost, Via } from "../../mesh/links/link-calls.ts";
import type { TunnelCall, TunnelEnd } from "../../tunnel/served-call.ts";
import { deadlineOf, findByteMethod, requestOf, withinLimit } from "../byte-method.ts";
import type { Routes } from "../call.ts";
import { statusTrailers } from "../grpc/status-trailers.ts";
import { namespaceHeader } from "../interceptors/namespace.ts";
import { codeByReason, toConnectError } from "../status.ts";
import { pairsOf, TunnelledCall } from "./tunnelled-call.ts";

export interface LinkCallHostOptions {
  /** Asked when a call comes, as it is made after the links. */
  readonly routes: () => Routes;
  readonly limits: Limits;
  readonly newRequestId: () => string;
  /** Unary methods that may run for as long as they take. */
  readonly isUnlimited: (method: DescMethod) => boolean;
}

/** Runs calls that come back over the streams of links: the same methods as on the port, the same way. */
export function linkCallHost(options: LinkCallHostOptions): LinkCallHost {
  return {
    run: (call, via) => run(options, call, via),
    toEnd,
    codeOf: (reason: ErrorReason) => codeByReason[reason],
  };
}

async function* run(
  options: LinkCallHostOptions,
  tunnelled: TunnelCall,
  via: Via,
): AsyncIterable<Uint8Array> {
  const slash = tunnelled.path.indexOf("/", 1);
  const serviceName = tunnelled.path.slice(1, slash);
  const methodName = tunnelled.path.slice(slash + 1);
  const namespace = tunnelled.metadata.find(([name]) => name === namespaceHeader)?.[1];
  const method = findByteMethod(options.routes(), serviceName, methodName, namespace);
  const requestId = options.newRequestId();
  const { limits, isUnlimited } = options;
  const deadlineMs = deadlineOf(method, tunnelled.deadlineMs, limits, isUnlimited);
  const names = { serviceName, methodName };
  const call = new TunnelledCall({ call: tunnelled, via, ...names, requestId, deadlineMs });
  const request = await requestOf(method, tunnelled.messages);
  const answer = await withinDeadline(method.invoke(request, call), deadlineMs);
  if (Symbol.asyncIterator in answer) {
    for await (const message of answer) {
      call.sendHeaders();
      yield withinLimit(method.encode(message), limits);
    }
  } else {
    call.sendHeaders();
    yield withinLimit(method.encode(answer), limits);
  }
  call.setTrailers();
}

/** The work goes on if time is up, and its answer has no reader. */
async function withinDeadline<T>(work: Promise<T>, deadlineMs: number | undefined): Promise<T> {
  if (deadlineMs === undefined) return await work;
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    reject(new CollectorError("DEADLINE_EXCEEDED", "the call's deadline has passed"));
  }, deadlineMs - performance.now());
  try {
    return await Promise.race([work, promise]);
  } finally {
    clearTimeout(timer);
  }
}

function toEnd(error: unknown): TunnelEnd {
  const status = toConnectError(error);
  // The details among them; a tunnel leaves out what it carries by itself.
  const metadata = pairsOf(statusTrailers(status));
  return { code: status.code, message: status.rawMessage, metadata };
}
