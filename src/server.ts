import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import type { Transport } from "@connectrpc/connect";
import { destination, type Logger, pino } from "pino";
import { CollectionCatalog } from "./collections/catalog.ts";
import { systemCollections } from "./collections/own-collections.ts";
import { openSystemRecords } from "./collections/system-collections.ts";
import { Watches } from "./collections/watch/watches.ts";
import { type Config, completeConfig } from "./config.ts";
import { openCopies } from "./copies/open-copies.ts";
import { BackupPolicies } from "./copies/policies/backup-policies.ts";
import { checkExposure, isLoopback } from "./exposure.ts";
import { FileCatalog } from "./files/file-catalog.ts";
import { BackupPolicySchema, Backups, Transfers } from "./gen/collector/backups_pb.ts";
import { CollectionAdmin } from "./gen/collector/collection_admin_pb.ts";
import { CollectionSchema } from "./gen/collector/collection_pb.ts";
import { BackupMetadataSchema, CollectionRepo } from "./gen/collector/collection_repo_pb.ts";
import { CollectionService } from "./gen/collector/collection_server_pb.ts";
import { FileService } from "./gen/collector/files_pb.ts";
import { NamespaceSchema, Namespaces } from "./gen/collector/namespaces_pb.ts";
import { OperationSchema, Operations } from "./gen/collector/operations_pb.ts";
import { RecordStreams } from "./gen/collector/record_streams_pb.ts";
import { RegisteredProtoSchema, RegisteredServiceSchema } from "./gen/collector/registry_pb.ts";
import { RemovedRegistrationSchema } from "./gen/collector/sharing_pb.ts";
import { TypeRegistry } from "./gen/collector/type_registry_pb.ts";
import { Health } from "./gen/grpc/health/v1/health_pb.ts";
import { ServerReflection } from "./gen/grpc/reflection/v1/reflection_pb.ts";
import { ServerReflection as ServerReflectionV1alpha } from "./gen/grpc/reflection/v1alpha/reflection_pb.ts";
import { systemClock } from "./lib/clock.ts";
import { defaultLimits, type Limits } from "./lib/limits.ts";
import { type MeshParts, openMesh } from "./mesh-wiring.ts";
import { OperationStore } from "./operations/operation-store.ts";
import { Registry } from "./registry/registry.ts";
import { type ChainOptions, chainOf, runTimeChain } from "./rpc/chain.ts";
import { createGrpcHandler } from "./rpc/grpc/grpc-handler.ts";
import { HealthState, healthHandlers } from "./rpc/health.ts";
import { filePages } from "./rpc/http/file-pages.ts";
import { openPort, type Port } from "./rpc/http/port.ts";
import { readTls } from "./rpc/http/read-tls.ts";
import { ReceiveBudget } from "./rpc/http/receive-budget.ts";
import type { AccessControl } from "./rpc/interceptors/access.ts";
import { channelTransport } from "./rpc/local/channel-transport.ts";
import { createLocalCaller, type LocalCaller } from "./rpc/local/local-caller.ts";
import { LoopbackChannel } from "./rpc/local/loopback-channel.ts";
import { Metrics } from "./rpc/metrics.ts";
import { PeerDialer } from "./rpc/outbound/dialer.ts";
import { grpcCollectors } from "./rpc/peers/grpc-collectors.ts";
import { reflectionHandlers, reflectionV1alphaHandlers } from "./rpc/reflection.ts";
import { RouteTable } from "./rpc/route-table.ts";
import { createMethodCaller } from "./rpc/runtime/method-caller.ts";
import { RegisteredMethods } from "./rpc/runtime/registered-methods.ts";
import { createServe, type Serve } from "./rpc/runtime/serve-handlers.ts";
import { isUnlimited, servedServices } from "./rpc/served-services.ts";
import { backupService } from "./rpc/services/backup-service.ts";
import { collectionAdmin } from "./rpc/services/collection-admin.ts";
import { collectionRepo } from "./rpc/services/collection-repo.ts";
import { collectionService } from "./rpc/services/collection-service.ts";
import { fileService } from "./rpc/services/file-service.ts";
import { namespaces } from "./rpc/services/namespaces.ts";
import { operations } from "./rpc/services/operations.ts";
import { recordStreams } from "./rpc/services/record-streams.ts";
import { transferService } from "./rpc/services/transfer-handlers.ts";
import { typeRegistry } from "./rpc/services/type-registry.ts";
import { toStatus } from "./rpc/status.ts";
import { openDataFolder } from "./storage/sqlite/data-folder.ts";
import { SqliteEngine } from "./storage/sqlite/sqlite-engine.ts";

/** How a collector inside another program is set up; what is left out has its default. */
export interface CollectorOptions extends Partial<Config> {
  /** Instead of the log on stderr. */
  readonly log?: Logger;
  /** Who may do what; without it every caller may do everything. */
  readonly access?: AccessControl;
}

/** A collector that runs. Disposing it drains and closes it. */
export interface Collector extends AsyncDisposable {
  /** What to dial, as in `http://127.0.0.1:50051`. */
  readonly url: string;
  /** Absolute path. */
  readonly dataFolder: string;
  readonly collectorId: string;
  readonly version: string;
  /** From the call of {@link createCollector} until the port listened. */
  readonly startedInMs: number;
  /**
   * Calls a unary method of this collector, or of a service that is registered with it, without a
   * socket. It meets all that a call from outside does: limits, interceptors, metrics.
   */
  readonly call: LocalCaller;
  /**
   * The same for clients of generated code, `createClient(Pricing, collector.transport)`, all kinds of
   * methods, and for {@link ConnectOptions.transport} of the client.
   */
  readonly transport: Transport;
  /**
   * Runs a service by functions of this process. Its file is registered if it is not yet; from then on
   * every client of the collector can call it.
   *
   * @throws {CollectorError} what registering a file and a service throw
   */
  readonly serve: Serve;
  /**
   * Takes no more calls, lets those in flight go on for `drainMs` of the limits, and closes. All that
   * was acknowledged is on disk. Closing twice is closing once.
   */
  close(): Promise<void>;
}

/**
 * Starts a collector in this process.
 *
 * @throws {CollectorError} ARGUMENT_INVALID for options that do not fit; STORAGE_UNAVAILABLE if the
 * data folder is in use by another server ({@link DataFolderLockedError}), of a newer format or
 * cannot be written
 * @throws {PortTakenError}
 */
export async function createCollector(options: CollectorOptions = {}): Promise<Collector> {
  const startMs = performance.now();
  const { log: givenLog, access, ...given } = options;
  const config = completeConfig(given);
  checkExposure(config);
  const tls = await readTls(config);
  const version = await readVersion();
  const log = givenLog ?? createLog(config);
  const limits: Limits = { ...defaultLimits, ...config.limits };
  const defaultNamespace = config.namespace;

  await using parts = new AsyncDisposableStack();
  const folder = parts.use(
    await openDataFolder(resolve(config.data), { collectorId: config.collectorId, log }),
  );
  const engine = parts.use(await SqliteEngine.open({ dataFolder: folder.path, limits, log }));

  const later: { catalog?: CollectionCatalog; mesh?: MeshParts } = {};
  const dialer = parts.use(
    new PeerDialer({ peers: config.peers, allowsLoopback: isLoopback(config.host), limits }),
  );
  const registry = await Registry.open({
    protos: await openSystemRecords(engine, RegisteredProtoSchema, "protos", limits),
    services: await openSystemRecords(engine, RegisteredServiceSchema, "services", limits),
    namespaces: await openSystemRecords(engine, NamespaceSchema, "namespaces", limits),
    removals: await openSystemRecords(engine, RemovedRegistrationSchema, "removals", limits),
    keepsRemovals: (namespace) => later.mesh?.sharing.isShared(namespace) ?? false,
    builtInServices: servedServices,
    defaultNamespace,
    limits,
    nowMs: Date.now,
    checkEndpoint: (address, field) => dialer.check(address, field),
    onChange: (namespace) => {
      later.mesh?.follow(namespace);
      later.catalog?.alterations.followTypes(namespace).catch((error: unknown) => {
        log.error({ err: error, namespace }, "collections could not follow their types");
      });
    },
    onNamespaces: () => later.mesh?.links.offersChanged(),
    usage: {
      collectionsUsing: (namespace, names) =>
        later.catalog?.collectionsUsing(namespace, names) ?? [],
      hasCollections: (namespace) => later.catalog?.hasCollections(namespace) ?? false,
      isServed: (namespace, service) =>
        (later.mesh?.executors.executorsOf(namespace, service) ?? []).length > 0,
    },
  });
  const operationStore = parts.use(
    await OperationStore.open({
      records: await openSystemRecords(engine, OperationSchema, "operations", limits),
      limits,
      toStatus,
      log,
    }),
  );
  const listening: { port?: Port } = {};
  const watches = new Watches(limits, log);
  const catalog = await CollectionCatalog.open({
    engine,
    definitions: await openSystemRecords(engine, CollectionSchema, "collections", limits),
    systemCollections,
    types: registry,
    operations: operationStore,
    limits,
    watches,
    endpoint: () => config.advertise ?? listening.port?.address ?? "",
    ensureNamespace: (namespace) => registry.ensureNamespace(namespace),
    log,
  });
  later.catalog = catalog;
  await operationStore.resume(catalog.alterations.resumers);
  // A full disk is no reason not to start: calls make room on it.
  await catalog.alterations.followTypes().catch((error: unknown) => {
    log.error({ err: error }, "collections could not follow their types");
  });
  parts.use(catalog.sweepExpired());
  const metrics = new Metrics({ version });
  const copies = parts.use(
    await openCopies({
      dataFolder: folder.path,
      settings: config,
      engine,
      catalog,
      registry,
      records: await openSystemRecords(engine, BackupMetadataSchema, "backups", limits),
      operations: operationStore,
      remotes: grpcCollectors(dialer),
      collectorId: folder.collectorId,
      serverVersion: version,
      limits,
      log,
      observer: metrics.backups,
    }),
  );
  const policies = parts.use(
    await BackupPolicies.open({
      records: await openSystemRecords(engine, BackupPolicySchema, "policies", limits),
      backups: copies.backups,
      sets: copies.sets.backup,
      catalog,
      operations: operationStore,
      limits,
      clock: systemClock,
      log,
    }),
  );
  metrics.backups.follow({
    backups: () => copies.backups.all(),
    collections: () => catalog.definitionsIn(""),
    policies: () => policies.all(),
  });

  const newRequestId = requestIds();
  const mesh = await openMesh(parts, {
    config,
    engine,
    registry,
    dialer,
    collectorId: folder.collectorId,
    serverVersion: version,
    limits,
    log,
    newRequestId,
    routes: () => routes,
    listeningAt: () => listening.port?.address,
    access,
  });
  later.mesh = mesh;
  const { links, workers, sharing } = mesh;
  metrics.sharing.follow({
    conflicts: () =>
      links.table.settled().map(({ id, peerId }) => [peerId, sharing.conflictCount(id)] as const),
    taken: () => sharing.takenCount,
  });
  const chain: ChainOptions = {
    types: registry,
    defaultNamespace,
    log,
    record: metrics.record,
    tracing: config.tracing,
    access,
  };
  const registered = new RegisteredMethods({
    types: registry,
    defaultNamespace,
    interceptors: runTimeChain(chain),
    forwarder: mesh.forwarder,
  });
  const routes: RouteTable = new RouteTable(chainOf(chain), registered);
  const loopback = new LoopbackChannel({ routes, limits, isUnlimited, newRequestId });
  const health = new HealthState({ services: () => servedServices.map((s) => s.typeName) });
  // Watches, links and workers never end by themselves: a drain would wait for them in vain.
  health.subscribe(() => {
    if (!health.draining) return;
    watches.close();
    policies.pause();
    void links.close();
    workers.drain(() => grpc.callCount > workers.count || loopback.callCount > 0);
  });
  const reflection = {
    types: registry,
    services: (namespace: string) => registry.snapshot(namespace).services.keys(),
    defaultNamespace,
  };
  const server = { version, collectorId: folder.collectorId, defaultNamespace, limits };
  const run = createMethodCaller({ routes: () => routes, collectorId: folder.collectorId });
  routes.add(CollectionService, collectionService(catalog, server, { types: registry, run }));
  routes.add(
    CollectionRepo,
    collectionRepo({ catalog, copies, operations: operationStore, limits }),
  );
  routes.add(Backups, backupService({ copies, policies, operations: operationStore, limits }));
  routes.add(Transfers, transferService(copies.transfers));
  routes.add(CollectionAdmin, collectionAdmin(catalog));
  routes.add(FileService, fileService(new FileCatalog({ collections: catalog, limits })));
  routes.add(TypeRegistry, typeRegistry(registry));
  routes.add(Namespaces, namespaces(registry));
  routes.add(Operations, operations(operationStore));
  routes.add(RecordStreams, recordStreams(catalog));
  mesh.serve(routes, run);
  routes.add(Health, healthHandlers(health));
  routes.add(ServerReflection, reflectionHandlers(reflection));
  routes.add(ServerReflectionV1alpha, reflectionV1alphaHandlers(reflection));

  const budget = new ReceiveBudget(limits.receiveBufferBytesMax);
  const grpc = createGrpcHandler({
    routes,
    limits,
    newRequestId,
    log,
    openShare: () => budget.open(),
    verifyLink: (credential) => links.guard.verify(credential),
    isUnlimited,
  });
  const port: Port = await openPort({
    host: config.host,
    port: config.port,
    tls,
    routes,
    grpc,
    limits,
    budget,
    isUnlimited,
    types: registry,
    defaultNamespace,
    health,
    metrics,
    newRequestId,
    log,
    // Its callers dial what it tells them to.
    allowedHosts:
      config.advertise === undefined
        ? config.allowedHosts
        : [...config.allowedHosts, config.advertise],
    allowedOrigins: config.allowedOrigins,
    httpRoutes: filePages({ routes, limits, newRequestId }),
  });
  listening.port = port;
  const transport = channelTransport(loopback);
  parts.defer(async () => {
    const { drainMs } = limits;
    await Promise.all([port.close({ drainMs }), loopback.close(drainMs)]);
  });
  policies.start();
  links.start();

  const startedInMs = performance.now() - startMs;
  log.info({ url: port.url, dataFolder: folder.path, version, startedInMs }, "ready");
  const running = parts.move();
  let closed: Promise<void> | undefined;
  const close = (): Promise<void> => (closed ??= running.disposeAsync());
  return {
    url: port.url,
    dataFolder: folder.path,
    collectorId: folder.collectorId,
    version,
    startedInMs,
    call: createLocalCaller(transport),
    transport,
    serve: createServe({
      registry,
      executors: mesh.executors,
      defaultNamespace,
      collectorId: folder.collectorId,
      newRequestId,
      log,
    }),
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** The version of this server, from its package. */
export async function readVersion(): Promise<string> {
  const text = await readFile(new URL("../package.json", import.meta.url), "utf8");
  const { version } = JSON.parse(text) as { version: string };
  return version;
}

function createLog({ logLevel }: Config): Logger {
  return pino({ level: logLevel, base: {} }, destination({ dest: 2, sync: true }));
}

/** Ids that are short, and of this process alone in its logs. */
function requestIds(): () => string {
  const start = Date.now().toString(36);
  let count = 0;
  return () => {
    count += 1;
    return `${start}-${count.toString(36)}`;
  };
}
