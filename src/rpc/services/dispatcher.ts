import { fromBinary } from "@bufbuild/protobuf";
import type { CollectiveDispatcher } from "../../gen/collector/dispatcher_pb.ts";
import type { Clock } from "../../lib/clock.ts";
import type { DispatchLog } from "../../mesh/dispatch/dispatch-log.ts";
import type { CallContext, Dispatcher } from "../../mesh/dispatch/dispatcher.ts";
import { packOutput, resolveTyped, type TypedMethod } from "../../mesh/dispatch/typed-method.ts";
import { contextMetadata } from "../../mesh/execution-context.ts";
import type { Links } from "../../mesh/links/links.ts";
import { readRoute } from "../../mesh/routing/call-route.ts";
import type { TypeSource } from "../../registry/type-snapshot.ts";
import type { Call, ServiceHandlers } from "../call.ts";
import { contractStatus, statusOfFailure } from "../contract-status.ts";
import { type AccessControl, principalOf } from "../interceptors/access.ts";
import { DerivedCall } from "../runtime/derived-call.ts";
import { forwardedFailure } from "../runtime/forwarded-error.ts";
import { forwardedMetadata } from "../runtime/forwarded-metadata.ts";
import type { MethodCaller } from "../runtime/method-caller.ts";

export interface DispatcherServiceOptions {
  readonly links: Links;
  readonly dispatcher: Dispatcher;
  readonly dispatches: DispatchLog;
  readonly types: TypeSource;
  /** Runs a method here, with the rights of a call. */
  readonly run: MethodCaller;
  readonly clock: Clock;
  /** Links that a call may travel. */
  readonly hopsMax: number;
  /** Who may do what. With it, the credentials of callers are for this server, and not passed on. */
  readonly access: AccessControl | undefined;
}

/** `collector.CollectiveDispatcher` over the {@link Links} and the {@link Dispatcher}. */
export function collectiveDispatcher(
  options: DispatcherServiceOptions,
): ServiceHandlers<typeof CollectiveDispatcher> {
  const { links, dispatcher, dispatches, clock, types, run } = options;
  return {
    serve(request, call) {
      const context = contextMetadata(request.executionContext, "execution_context");
      const method = resolveTyped(types, request);
      const { namespace, desc, input } = method;
      return run({ namespace, desc, input, context }, call).then(({ output, executorId }) => ({
        output: packOutput(method, output),
        executorId,
      }));
    },

    async connect({ address, namespaces, metadata: labels, sharesRegistrations }) {
      const link = await links.connect({ address, namespaces, labels, sharesRegistrations });
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
  const { links, hopsMax, access, run } = options;
  const own = { collectorId: links.collectorId, hopsMax };
  return {
    metadata: forwardedMetadata(call, access !== undefined),
    authorize: (method) => authorizeMethod(access, method, call),
    deadlineMs: call.deadlineMs,
    signal: call.signal,
    route: call.via === undefined ? [] : readRoute(call.requestMetadata, own),
    runBuiltIn: async (method) =>
      (await run({ ...method, context: [] }, call, { dropsMetadata: true })).output,
  };
}

/** A caller may dispatch what it may call. */
async function authorizeMethod(
  access: AccessControl | undefined,
  { desc, namespace, input }: TypedMethod,
  call: Call,
): Promise<void> {
  if (access === undefined) return;
  const principal = principalOf(call);
  if (principal === undefined) throw new Error("a call is authenticated before it is handled");
  const derived = new DerivedCall(call, {
    serviceName: desc.parent.typeName,
    methodName: desc.name,
    namespace,
    metadata: [],
    dropsMetadata: true,
  });
  await access.authorize(principal, derived, fromBinary(desc.input, input));
}
