import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  Executor_Kind as Kind,
  type Executor as ListedExecutor,
} from "../gen/collector/service_hosts_pb.ts";
import type { Limits } from "../lib/limits.ts";
import { encodePageToken, type PageRequest, readPage } from "../lib/page-token.ts";
import type { TypeSource } from "../registry/type-snapshot.ts";
import type { Executor, ExecutorKind } from "./executor.ts";

const kinds: Readonly<Record<ExecutorKind, Kind>> = {
  handler: Kind.HANDLER,
  endpoint: Kind.ENDPOINT,
  worker: Kind.WORKER,
  peer: Kind.PEER,
};

export interface ExecutorsQuery extends PageRequest {
  readonly namespace: string;
  /** Only of this service, under the registry's rules for names. Empty: of all. */
  readonly serviceName: string;
}

export interface ExecutorsPage {
  readonly executors: ListedExecutor[];
  readonly nextPageToken: string;
}

/**
 * Executors of a namespace, by service and then by id.
 *
 * @param executors those that are known, in any order
 * @throws {CollectorError} SERVICE_NOT_FOUND, TYPE_AMBIGUOUS, PAGE_SIZE_INVALID, PAGE_TOKEN_INVALID
 */
export function listExecutors(
  executors: Iterable<Executor>,
  types: TypeSource,
  query: ExecutorsQuery,
  limits: Limits,
): ExecutorsPage {
  const { namespace } = query;
  const serviceName =
    query.serviceName === "" ? "" : types.snapshot(namespace).service(query.serviceName).typeName;
  const pageQuery = ["ListExecutors", namespace, serviceName];
  const { size, after } = readPage(query, pageQuery, limits);
  const found = Array.from(executors)
    .filter((each) => each.namespace === namespace)
    .filter((each) => serviceName === "" || each.serviceName === serviceName)
    .map((executor) => ({ executor, key: keyOf(executor) }))
    .filter(({ key }) => after === undefined || key > after)
    .sort((a, b) => (a.key < b.key ? -1 : 1));
  const page = found.slice(0, size);
  const last = page.at(-1);
  return {
    executors: page.map(({ executor }) => toListed(executor)),
    nextPageToken:
      last === undefined || found.length <= size ? "" : encodePageToken(pageQuery, last.key),
  };
}

/** Neither part has a NUL, so keys sort as their parts do. */
function keyOf({ serviceName, id }: Executor): string {
  return `${serviceName}\0${id}`;
}

/** An executor as it is shown. */
export function toListed(executor: Executor): ListedExecutor {
  const { id, kind, namespace, serviceName, address, ready, problem, inFlight } = executor;
  return {
    $typeName: "collector.Executor",
    id,
    kind: kinds[kind],
    namespace,
    serviceName,
    address,
    ready,
    problem,
    callsInFlight: BigInt(inFlight),
    labels: { ...executor.labels },
    collectorId: executor.collectorId,
    way: [...(executor.way ?? [])],
    since: timestampFromMs(executor.sinceMs),
  };
}
