import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { Any } from "@bufbuild/protobuf/wkt";
import {
  DispatchRequestSchema,
  DispatchResponseSchema,
} from "../../gen/collector/dispatcher_pb.ts";
import type { TypeSource } from "../../registry/type-snapshot.ts";
import type { CallOptions, UnaryAnswer } from "../channel.ts";
import type { Executor } from "../executor.ts";
import type { Link } from "../links/link.ts";
import type { LinkTable } from "../links/link-table.ts";
import { type Router, unavailable } from "../router.ts";
import { handledByHeader, tooFar } from "../routing/call-route.ts";
import { unknownCollector } from "../routing/mesh-router.ts";
import type { IsRepeatable } from "../routing/repeatable.ts";
import { runUnary } from "../run-call.ts";
import { readHints } from "./routing-hints.ts";
import { packOutput, resolveTyped, type TypedMethod, type TypedRequest } from "./typed-method.ts";

export interface DispatchRequest extends TypedRequest {
  readonly targetCollectorId: string;
  readonly routingHints: Readonly<Record<string, string>>;
}

/** What is known of the call that asks for another one. */
export interface CallContext extends Pick<CallOptions, "metadata" | "deadlineMs" | "signal"> {
  /** Collectors that it has passed. */
  readonly route: readonly string[];
  /** Whether the caller may call a method. @throws {CollectorError} PERMISSION_DENIED */
  readonly authorize: (method: TypedMethod) => Promise<void>;
  /** Runs a method of a built-in service here, with the rights of the caller. */
  readonly runBuiltIn: (method: TypedMethod) => Promise<Uint8Array>;
}

export interface DispatcherOptions {
  readonly collectorId: string;
  readonly types: TypeSource;
  readonly isBuiltIn: (serviceName: string) => boolean;
  readonly isRepeatable: IsRepeatable;
  /** To wherever a service is run. */
  readonly router: Router;
  readonly links: LinkTable;
  /** Links that a call may travel. */
  readonly hopsMax: number;
}

/** How a call ended well, and where it ran. */
export interface Dispatched {
  readonly output: Any;
  /** Id of the collector that ran it. */
  readonly handledBy: string;
  /** Id of what ran it for this collector. */
  readonly executorId: string;
}

/** Runs single calls, typed, here or wherever they can be run. */
export class Dispatcher {
  readonly #options: DispatcherOptions;

  constructor(options: DispatcherOptions) {
    this.#options = options;
  }

  /**
   * Runs a method at the collector that is named; else here if it can be run here; else at the nearest
   * linked one that can.
   *
   * @throws {CollectorError} what {@link resolveTyped} throws; SERVICE_UNAVAILABLE, ANSWER_INVALID;
   * COLLECTOR_NOT_FOUND, HOPS_EXCEEDED, CALL_LOOP
   * @throws {CallFailure} what the implementation ended with
   */
  async dispatch(request: DispatchRequest, context: CallContext): Promise<Dispatched> {
    const { types, isBuiltIn, collectorId } = this.#options;
    const method = resolveTyped(types, request);
    const hints = readHints(request.routingHints);
    const target = request.targetCollectorId === "" ? undefined : request.targetCollectorId;
    if (target !== undefined) this.#checkKnown(target);
    await context.authorize(method);
    if (isBuiltIn(method.serviceName)) {
      if (target === undefined || target === collectorId) {
        return await this.#builtInHere(method, context);
      }
      return await this.#builtInThere(method, target, context);
    }
    const wish = { ...hints, target, route: context.route };
    const { answer, executor } = await this.#run(method, context, wish);
    const told = answer.trailers.find(([name]) => name === handledByHeader)?.[1];
    const there = told ?? executor?.collectorId ?? "";
    return {
      output: packOutput(method, answer.message),
      handledBy: executor?.kind === "peer" ? there : collectorId,
      executorId: executor?.id ?? "",
    };
  }

  async #builtInHere(method: TypedMethod, context: CallContext): Promise<Dispatched> {
    const { collectorId } = this.#options;
    const bytes = await context.runBuiltIn(method);
    return { output: packOutput(method, bytes), handledBy: collectorId, executorId: collectorId };
  }

  /** At another collector: itself, if it is linked; else by way of one that is linked to both. */
  async #builtInThere(
    method: TypedMethod,
    target: string,
    context: CallContext,
  ): Promise<Dispatched> {
    const { links, hopsMax } = this.#options;
    if (context.route.length >= hopsMax) throw tooFar(hopsMax);
    const direct = links.byPeer(target);
    if (direct?.isReady === true) {
      const path = `/${method.serviceName}/${method.methodName}`;
      const answer = await direct.channel.unary(path, method.input, this.#optionsFor(context));
      const output = packOutput(method, answer.message);
      return { output, handledBy: target, executorId: `peer-${target}` };
    }
    const between = links.settled().find((link) => leadsTo(link, target, context.route));
    if (between === undefined) throw unavailable(method.namespace, method.serviceName, []);
    const request = create(DispatchRequestSchema, {
      namespace: method.namespace,
      service: { namespace: method.namespace, serviceName: method.serviceName },
      methodName: method.methodName,
      input: { typeUrl: `type.googleapis.com/${method.desc.input.typeName}`, value: method.input },
      targetCollectorId: target,
    });
    const answer = await between.channel.unary(
      "/collector.CollectiveDispatcher/Dispatch",
      toBinary(DispatchRequestSchema, request),
      this.#optionsFor(context),
    );
    const response = fromBinary(DispatchResponseSchema, answer.message);
    return {
      output: packOutput(method, response.output?.value ?? new Uint8Array()),
      handledBy: response.handledByCollectorId,
      executorId: `peer-${between.peerId}/${target}`,
    };
  }

  async #run(
    method: TypedMethod,
    context: CallContext,
    wish: Parameters<Router["route"]>[3],
  ): Promise<{ readonly answer: UnaryAnswer; readonly executor: Executor | undefined }> {
    const { router, isRepeatable } = this.#options;
    const { namespace, serviceName, methodName } = method;
    let executor: Executor | undefined;
    const answer = await runUnary(
      router,
      {
        namespace,
        serviceName,
        methodName,
        options: this.#optionsFor(context),
        wish,
        isRepeatable,
        onTry: (tried) => {
          executor = tried;
        },
      },
      method.input,
    );
    return { answer, executor };
  }

  #optionsFor({ metadata, deadlineMs, signal, route }: CallContext): CallOptions {
    return { metadata, deadlineMs, signal, route: [...route, this.#options.collectorId] };
  }

  /** @throws {CollectorError} COLLECTOR_NOT_FOUND */
  #checkKnown(id: string): void {
    const { collectorId, links } = this.#options;
    if (id === collectorId || links.byPeer(id)?.isSettled === true) return;
    const isBehind = links
      .settled()
      .some(
        ({ offer }) =>
          offer?.linkedCollectorIds.includes(id) === true ||
          [...(offer?.remoteServices.values() ?? [])].flat().some(({ way }) => way.at(-1) === id),
      );
    if (!isBehind) throw unknownCollector(id);
  }
}

/** Whether a collector is the neighbor of one that is linked, and that a call has not passed. */
function leadsTo(link: Link, target: string, route: readonly string[]): boolean {
  return (
    link.isReady &&
    !route.includes(link.peerId) &&
    link.offer?.linkedCollectorIds.includes(target) === true
  );
}
