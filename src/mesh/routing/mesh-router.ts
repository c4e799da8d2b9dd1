import { CollectorError } from "../../errors.ts";
import type { CallFailure } from "../channel.ts";
import { chooseExecutor, type Executor, type ExecutorSource } from "../executor.ts";
import { type Router, type RouteWish, unavailable } from "../router.ts";
import type { Breakers } from "./breakers.ts";
import { tooFar } from "./call-route.ts";

export interface MeshRouterOptions {
  readonly collectorId: string;
  /** What runs services here. */
  readonly local: ExecutorSource;
  /** What linked collectors run, themselves or through others. */
  readonly peers: ExecutorSource;
  readonly breakers: Breakers;
  /** Collectors that a call may pass. */
  readonly hopsMax: number;
}

const none: readonly Executor[] = [];

/**
 * Routes to what runs a service here; else to the nearest linked collector through which it is reached
 * that the call has not passed, and that answers. Among equals the less busy one of two is chosen.
 */
export class MeshRouter implements Router {
  readonly #options: MeshRouterOptions;

  constructor(options: MeshRouterOptions) {
    this.#options = options;
  }

  route(
    namespace: string,
    serviceName: string,
    _methodName: string,
    wish: RouteWish = {},
  ): Executor {
    const { local, peers, breakers, collectorId, hopsMax } = this.#options;
    const { target } = wish;
    const here =
      target === undefined || target === collectorId
        ? local.executorsOf(namespace, serviceName)
        : none;
    if (here.length > 0 && wish.prefer !== "remote") {
      const chosen = chooseExecutor(here, wish);
      if (chosen !== undefined) return chosen;
    }
    const away = target === collectorId ? none : passable(peers, namespace, serviceName, wish);
    // With this collector, those that it passes on the way are as many as the links it travels.
    const left = hopsMax - (wish.route?.length ?? 0);
    const near = away.filter((executor) => distanceOf(executor) <= left);
    const chosen =
      chooseNearest(
        near.filter((executor) => breakers.allows(neighborOf(executor))),
        wish,
      ) ?? (wish.prefer === "remote" ? chooseExecutor(here, wish) : undefined);
    if (chosen?.kind === "peer") breakers.begin(neighborOf(chosen));
    if (chosen !== undefined) return chosen;
    if (away.length > 0 && near.length === 0) throw tooFar(hopsMax);
    throw unavailable(namespace, serviceName, [...here, ...near]);
  }

  report(executor: Executor, failure: CallFailure | undefined): void {
    if (executor.kind !== "peer") return;
    const { breakers } = this.#options;
    const id = neighborOf(executor);
    if (failure === undefined || failure.isRemote) breakers.succeeded(id);
    else if (isUnreachable(failure)) breakers.failed(id);
    else breakers.undecided(id);
  }
}

/** Those through which a call comes to no collector that it has passed. */
function passable(
  peers: ExecutorSource,
  namespace: string,
  serviceName: string,
  { target, route = [] }: RouteWish,
): readonly Executor[] {
  return peers
    .executorsOf(namespace, serviceName)
    .filter(
      ({ collectorId, way = [collectorId] }) =>
        (target === undefined || collectorId === target) && !way.some((id) => route.includes(id)),
    );
}

function neighborOf({ neighborId, collectorId }: Executor): string {
  return neighborId ?? collectorId;
}

/** Of the nearest ones that are ready; farther ones only if no nearer one will do. */
function chooseNearest(executors: readonly Executor[], wish: RouteWish): Executor | undefined {
  const distances = new Set(executors.map(distanceOf));
  for (const distance of [...distances].sort((a, b) => a - b)) {
    const group = executors.filter((executor) => distanceOf(executor) === distance);
    const chosen = chooseExecutor(group, wish);
    if (chosen !== undefined) return chosen;
  }
  return undefined;
}

function distanceOf({ way = [] }: Executor): number {
  return Math.max(1, way.length);
}

/** Whether a failure means that the other end could not be reached, or was lost. */
function isUnreachable({ reason }: CallFailure): boolean {
  return reason === "PEER_UNAVAILABLE" || reason === "PEER_DENIED";
}

/** @throws {CollectorError} COLLECTOR_NOT_FOUND */
export function unknownCollector(id: string): CollectorError {
  return new CollectorError(
    "COLLECTOR_NOT_FOUND",
    "target_collector_id: no collector of this id is known here; Mesh.ListCollectors lists those that are",
    {
      subject: { collector: id.slice(0, 128) },
      violations: [{ field: "target_collector_id", description: "is not known" }],
    },
  );
}
