import type { CollectorError } from "../../errors.ts";
import { invalidField } from "../../errors.ts";
import type { CollectiveDispatcher } from "../../gen/collector/dispatcher_pb.ts";
import type { Clock } from "../../lib/clock.ts";
import type { DispatchLog } from "../../mesh/dispatch/dispatch-log.ts";
import type { CallContext, Dispatcher } from "../../mesh/dispatch/dispatcher.ts";
import type { Links } from "../../mesh/links/links.ts";
import { readRoute } from "../../mesh/routing/call-route.ts";
import type { Call, Routes, ServiceHandlers } from "../call.ts";
import { contractStatus, statusOfFailure } from "../contract-status.ts";
import { callHere } from "../runtime/call-here.ts";
import { forwardedFailure } from "../runtime/forwarded-error.ts";
import { forwardedMetadata } from "../runtime/forwarded-metadata.ts";

export interface DispatcherServiceOptions {
  readonly links: Links;
  readonly dispatcher: Dispatcher;
  readonly dispatches: DispatchLog;
  /** Asked when a call comes, as it is made after this. */
  readonly routes: () => Routes;
  readonly clock: Clock;
  /** Links that a call may travel. */
  readonly hopsMax: number;
  /** Whether the credentials of callers are for this server and not passed on. */
  readonly hidesCredentials: boolean;
}

/** What metadata of a caller's choice may be called. */
const contextNamePattern = /^[a-z0-9][a-z0-9_.-]{0,127}$/;
const reservedPattern = /^(?:grpc-|x-collector-|content-type$|te$|authorization$)/;

/** `collector.CollectiveDispatcher` over the {@link Links} and the {@link Dispatcher}. */
export function collectiveDispatcher(
  options: DispatcherServiceOptions,
): ServiceHandlers<typeof CollectiveDispatcher> {
  const { links, dispatcher, dispatches, clock } = options;
  return {
    async serve(request, call) {
      const extra = Object.entries(request.executionContext);
      for (const [name] of extra) checkContextName(name);
      const context = contextOf(options, call);
      const metadata = [...(context.metadata ?? []), ...extra];
      try {
        const { output, executorId } = await dispatcher.serve(request, { ...context, metadata });
        return { output, executorId };
      } catch (error) {
        throw forwardedFailure(error, request.service?.serviceName ?? "");
      }
    },

    async connect({ address, namespaces, metadata }) {
      const link = await links.connect({ address, namespaces, labels: metadata });
      return {
        connectionId: link.id,
        sharedNamespaces: [...link.connection.sharedNamespaces],
        targetCollectorId: link.peerId,
        roundTripUs: link.toStatus().roundTripUs,
      };
    },

    async dispatch(request, call) {
      const ended = {
        beganUs: clock.nowUs(),
        namespace: request.namespace,
        serviceName: request.service?.serviceName ?? "",
        methodName: request.methodName,
        source: call.via?.collectorId ?? links.collectorId,
      };
      try {
        const { output, handledBy } = await dispatcher.dispatch(request, contextOf(options, call));
        dispatches.add({ ...ended, handledBy, status: contractStatus(undefined) });
        return { output, handledByCollectorId: handledBy };
      } catch (error) {
        const failure = forwardedFailure(error, ended.serviceName);
        dispatches.add({ ...ended, handledBy: "", status: statusOfFailure(failure) });
        throw failure;
      }
    },
  };
}

function contextOf(options: DispatcherServiceOptions, call: Call): CallContext {
  const { links, hopsMax, hidesCredentials, routes } = options;
  const own = { collectorId: links.collectorId, hopsMax };
  return {
    metadata: forwardedMetadata(call, hidesCredentials),
    deadlineMs: call.deadlineMs,
    signal: call.signal,
    route: call.via === undefined ? [] : readRoute(call.requestMetadata, own),
    runBuiltIn: (method) => callHere(routes(), method, call),
  };
}

/** @throws {CollectorError} ARGUMENT_INVALID */
function checkContextName(name: string): void {
  if (contextNamePattern.test(name) && !reservedPattern.test(name) && !name.endsWith("-bin"))
    return;
  throw invalidName(name);
}

function invalidName(name: string): CollectorError {
  return invalidField(
    "ARGUMENT_INVALID",
    "execution_context",
    `\`${name.slice(0, 100)}\` is no name of metadata: 1 to 128 of a-z 0-9 _ . -, none that gRPC or this server uses, nor one that ends in -bin`,
  );
}
