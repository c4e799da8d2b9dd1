import { openSystemRecords } from "./collections/system-collections.ts";
import type { Config } from "./config.ts";
import { addressToDial } from "./exposure.ts";
import {
  CollectiveDispatcher,
  ConnectionSchema,
  DispatchSchema,
} from "./gen/collector/dispatcher_pb.ts";
import { Mesh } from "./gen/collector/mesh_pb.ts";
import { CollectorRegistry } from "./gen/collector/registry_pb.ts";
import { ServiceHosts } from "./gen/collector/service_hosts_pb.ts";
import { systemClock } from "./lib/clock.ts";
import type { Limits } from "./lib/limits.ts";
import type { Log } from "./lib/log.ts";
import { systemScheduler } from "./lib/scheduler.ts";
import { DispatchLog } from "./mesh/dispatch/dispatch-log.ts";
import { Dispatcher } from "./mesh/dispatch/dispatcher.ts";
import { Endpoints } from "./mesh/endpoints.ts";
import { LocalExecutors } from "./mesh/executor.ts";
import { Links } from "./mesh/links/links.ts";
import { localOffers } from "./mesh/links/local-offers.ts";
import { Breakers } from "./mesh/routing/breakers.ts";
import { MeshRouter } from "./mesh/routing/mesh-router.ts";
import { repeatableBy } from "./mesh/routing/repeatable.ts";
import { RegistrationSharing } from "./mesh/sharing/registration-sharing.ts";
import { ServedRegistrations } from "./mesh/sharing/served-registrations.ts";
import { AttachedWorkers } from "./mesh/workers/attached-workers.ts";
import type { Registry } from "./registry/registry.ts";
import type { AccessControl } from "./rpc/interceptors/access.ts";
import { linkCallHost } from "./rpc/links/link-call-host.ts";
import type { PeerDialer } from "./rpc/outbound/dialer.ts";
import type { RouteTable } from "./rpc/route-table.ts";
import { Forwarder } from "./rpc/runtime/forwarder.ts";
import type { MethodCaller } from "./rpc/runtime/method-caller.ts";
import { isUnlimited, servedServices } from "./rpc/served-services.ts";
import { features } from "./rpc/services/collection-service.ts";
import { collectorRegistry } from "./rpc/services/collector-registry.ts";
import { collectiveDispatcher } from "./rpc/services/dispatcher.ts";
import { mesh } from "./rpc/services/mesh.ts";
import { serviceHosts } from "./rpc/services/service-hosts.ts";
import { codeByReason } from "./rpc/status.ts";
import type { SqliteEngine } from "./storage/sqlite/sqlite-engine.ts";

/** What one message about shared registrations holds, about. */
const partBytesMax = 256 * 1024;

export interface MeshOptions {
  readonly config: Config;
  readonly engine: SqliteEngine;
  readonly registry: Registry;
  readonly dialer: PeerDialer;
  readonly collectorId: string;
  readonly serverVersion: string;
  readonly limits: Limits;
  readonly log: Log;
  readonly newRequestId: () => string;
  /** The methods that are served here; asked for when a call comes, as they are made later. */
  readonly routes: () => RouteTable;
  /** Where this server listens; undefined as long as it does not. */
  readonly listeningAt: () => string | undefined;
  readonly access: AccessControl | undefined;
}

/** What runs services, here and at linked collectors, and what finds it. */
export interface MeshParts {
  readonly executors: LocalExecutors;
  readonly endpoints: Endpoints;
  readonly links: Links;
  readonly workers: AttachedWorkers;
  /** Registers here what linked collectors register. */
  readonly sharing: RegistrationSharing;
  /** Carries calls of registered services to what runs them. */
  readonly forwarder: Forwarder;
  /** What the registry tells of, once it has changed. */
  readonly follow: (namespace: string) => void;
  /** Adds the services that are about registrations, executors and links. */
  readonly serve: (routes: RouteTable, run: MethodCaller) => void;
}

/** Opens the mesh's parts. They are closed, the last one first, with `parts`. */
export async function openMesh(
  parts: AsyncDisposableStack,
  options: MeshOptions,
): Promise<MeshParts> {
  const { config, engine, registry, dialer, collectorId, limits, log, access } = options;
  const executors = new LocalExecutors();
  const endpoints = parts.use(
    new Endpoints({ dialer, executors, registry, collectorId, limits, log }),
  );
  const { routes, newRequestId } = options;
  const later: { links?: Links } = {};
  const { exchange } = registry;
  const sharing = new RegistrationSharing({
    exchange,
    collectorId,
    namespaces: config.sharedRegistrations,
    links: () => later.links?.table.settled() ?? [],
    limits,
    scheduler: systemScheduler,
    nowMs: Date.now,
    log,
  });
  const links = parts.use(
    await Links.open({
      records: await openSystemRecords(engine, ConnectionSchema, "connections", limits),
      dialer,
      source: localOffers(registry, executors),
      facts: {
        collectorId,
        serverVersion: options.serverVersion,
        features,
        address: () => addressToDial(config, options.listeningAt()),
      },
      calls: linkCallHost({ routes, limits, newRequestId, isUnlimited }),
      sharing,
      limits,
      log,
    }),
  );
  later.links = links;
  parts.use(sharing);
  const registrations = new ServedRegistrations({
    exchange,
    sharing,
    link: (id) => links.table.byId(id),
    partBytesMax: Math.min(partBytesMax, Math.floor(limits.messageBytesMax / 2)),
  });
  parts.use(executors.subscribe(() => links.offersChanged()));
  const hopsMax = limits.meshHopsMax;
  const router = new MeshRouter({
    collectorId,
    local: executors,
    peers: links.executors,
    breakers: new Breakers(),
    hopsMax,
  });
  const isRepeatable = repeatableBy(registry, links.executors);
  const dispatcher = new Dispatcher({
    collectorId,
    types: registry,
    isBuiltIn: (service) => servedServices.some(({ typeName }) => typeName === service),
    isRepeatable,
    router,
    links: links.table,
    hopsMax,
  });
  const dispatches = parts.use(
    await DispatchLog.open({
      records: await openSystemRecords(engine, DispatchSchema, "dispatches", limits),
      limits,
      scheduler: systemScheduler,
      clock: systemClock,
      log,
    }),
  );
  const hidesCredentials = access !== undefined;
  const forwarder = new Forwarder({ router, hidesCredentials, collectorId, hopsMax, isRepeatable });
  const workers = parts.use(
    new AttachedWorkers({
      executors,
      types: registry,
      collectorId,
      limits,
      codeOf: (reason) => codeByReason[reason],
      log,
    }),
  );
  return {
    executors,
    endpoints,
    links,
    workers,
    forwarder,
    sharing,
    follow: (namespace) => {
      endpoints.follow(namespace);
      sharing.changed(namespace);
      links.offersChanged();
      workers.followTypes(namespace);
    },
    serve: (to, run) => {
      to.add(
        CollectorRegistry,
        collectorRegistry(registry, (namespace, service) => [
          ...executors.executorsOf(namespace, service),
          ...links.executors.executorsOf(namespace, service),
        ]),
      );
      to.add(
        CollectiveDispatcher,
        collectiveDispatcher({
          links,
          dispatcher,
          dispatches,
          types: registry,
          run,
          clock: systemClock,
          hopsMax,
          access,
        }),
      );
      to.add(Mesh, mesh(links, registrations));
      to.add(
        ServiceHosts,
        serviceHosts({
          workers,
          executorsOf: (namespace) => [
            ...executors.all(namespace),
            ...links.executors.all(namespace),
          ],
          types: registry,
          limits,
        }),
      );
    },
  };
}
