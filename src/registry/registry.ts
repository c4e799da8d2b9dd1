import type { FileDescriptorSet } from "@bufbuild/protobuf/wkt";
import { CollectorError, invalidField } from "../errors.ts";
import type { Namespace } from "../gen/collector/namespaces_pb.ts";
import type { RegisteredProto, RegisteredService } from "../gen/collector/registry_pb.ts";
import type { PageRequest } from "../lib/page-token.ts";
import type { BuiltIns } from "./built-ins.ts";
import { closureOf } from "./closure.ts";
import { RegistryExchange } from "./exchange.ts";
import type { IncomingFile } from "./intake.ts";
import type { NamespaceMoment } from "./moment.ts";
import { refuseEmpty, systemNamespace } from "./names.ts";
import { emptyState, type ServiceState } from "./namespace-state.ts";
import type { NamespaceTable } from "./namespaces.ts";
import {
  type FilesPage,
  type FilesQuery,
  findFile,
  type ListedTypesPage,
  listFiles,
  listFileVersions,
  listTypes,
  pageOf,
  type TypesQuery,
} from "./queries.ts";
import { Queue } from "./queue.ts";
import { RegistryCore } from "./registry-core.ts";
import type {
  NamespacesPage,
  RegisterFileRequest,
  RegisterFileResult,
  RegisterServiceRequest,
  RegisterServiceResult,
  RegistryOptions,
} from "./requests.ts";
import {
  type ArchivedNamespace,
  collectFailures,
  planRestoration,
  storeHistories,
} from "./restoration.ts";
import { settleHosting } from "./service-hosting.ts";
import {
  chooseService,
  listServices,
  lookUpService,
  type MethodVerdict,
  outdatedServices,
  type ServicesPage,
  serviceState,
  validateMethod,
} from "./services.ts";
import type { NamespaceSnapshot } from "./snapshot.ts";
import type { TypeSource } from "./type-snapshot.ts";
import { findRegistered, planFileRemoval, planTypeRemoval } from "./unregistration.ts";

/**
 * The types and services of every namespace. All of it is in memory; what is written is on disk
 * before it is in force. Calls that write run one after the other.
 */
export class Registry implements TypeSource {
  /** Names of all namespaces, in order. */
  readonly namespaceNames: () => readonly string[];
  /** For collectors that share what is registered. */
  readonly exchange: RegistryExchange;
  readonly #options: RegistryOptions;
  readonly #core: RegistryCore;
  readonly #builtIns: BuiltIns;
  readonly #namespaces: NamespaceTable;
  readonly #queue = new Queue();

  private constructor(core: RegistryCore) {
    this.#core = core;
    this.#options = core.options;
    this.#builtIns = core.builtIns;
    this.#namespaces = core.namespaces;
    this.namespaceNames = () => core.namespaces.names();
    this.exchange = new RegistryExchange(core, this.#queue);
  }

  /**
   * Reads everything that is registered.
   *
   * @throws {CollectorError} STORAGE_CORRUPT if a record is damaged or a file no longer links
   */
  static async open(options: RegistryOptions): Promise<Registry> {
    return new Registry(await RegistryCore.open(options));
  }

  snapshot(namespace: string): NamespaceSnapshot {
    return this.#core.snapshot(namespace);
  }

  /**
   * Registers a file and what was sent along for it: all of them or none.
   *
   * @throws {CollectorError} ARGUMENT_MISSING, NAME_INVALID, SYSTEM_READ_ONLY, DESCRIPTOR_INVALID,
   * SYMBOL_EXISTS, SCHEMA_LIMIT_EXCEEDED, SCHEMA_INCOMPATIBLE, TYPE_IN_USE
   */
  registerFile(request: RegisterFileRequest): Promise<RegisterFileResult> {
    return this.#queue.run(async () => {
      const { namespace, file, dependencies, validateOnly } = request;
      this.#core.checkWritable(namespace);
      if (file === undefined) {
        throw invalidField("ARGUMENT_MISSING", "file_descriptor", "is missing; send the file");
      }
      const incoming: IncomingFile[] = [{ file, field: "file_descriptor" }];
      for (const [index, dependency] of dependencies.entries()) {
        incoming.push({ file: dependency, field: `dependencies[${index}]` });
      }
      const plan = await this.#core.plan(namespace, incoming);
      if (!validateOnly) await this.#core.register(plan);
      const record = findFile(plan.draft, this.#builtIns, file.name, plan.outcomes[0]?.version);
      return {
        protoId: record.id,
        version: record.version,
        registeredMessages: record.messageNames,
        files: plan.outcomes,
      };
    });
  }

  /**
   * Registers a service of a registered file, or of one that is sent along. A service that is
   * registered already is a success.
   *
   * @throws {CollectorError} as {@link registerFile}; SERVICE_NOT_FOUND, TYPE_AMBIGUOUS,
   * ARGUMENT_INVALID if the descriptors that were sent do not agree; what {@link settleHosting} throws
   */
  registerService(request: RegisterServiceRequest): Promise<RegisterServiceResult> {
    return this.#queue.run(async () => {
      const { namespace, file, validateOnly } = request;
      this.#core.checkWritable(namespace);
      const incoming = file === undefined ? [] : [{ file, field: "file_descriptor" }];
      const plan = await this.#core.plan(namespace, incoming);
      const fileName = request.fileName || (file?.name ?? "");
      const entry = chooseService(plan.draft, this.#builtIns, { ...request, fileName });
      const current = plan.draft.services.get(entry.fullName);
      const hosting = settleHosting(request.hosting, entry, current?.record, this.#options);
      const nowMs = this.#options.nowMs();
      const registered = serviceState(namespace, entry, nowMs, { current, hosting, origin: "" });
      if (!validateOnly) {
        await this.#core.register(plan);
        await this.#core.claimService(namespace, entry.fullName);
        if (!entry.builtIn) await this.#core.putServices(namespace, [[entry.fullName, registered]]);
      }
      const { endpoints, methodNames } = registered.record;
      return { serviceId: registered.id, registeredMethods: methodNames, endpoints };
    });
  }

  /** @throws {CollectorError} ARGUMENT_MISSING, SERVICE_NOT_FOUND, TYPE_AMBIGUOUS */
  lookupService(namespace: string, name: string): RegisteredService {
    refuseEmpty(name, "service_name", "service");
    const snapshot = this.snapshot(namespace);
    return lookUpService(snapshot, this.#core.stateOf(namespace), snapshot.service(name));
  }

  /** The services that were registered in a namespace, by full name: none that is built in. */
  registeredServices(namespace: string): ReadonlyMap<string, ServiceState> {
    return this.#core.stateOf(namespace).services;
  }

  /** Services by namespace and name. An empty namespace means all there are. */
  listServices(namespace: string, page: PageRequest): ServicesPage {
    const names = namespace === "" ? this.#namespaces.names() : [namespace];
    const sources = names.map((name) => ({
      snapshot: this.snapshot(name),
      state: this.#core.stateOf(name),
    }));
    return listServices(namespace, sources, page, this.#options.limits);
  }

  /** Whether a method may be called; if not, why. */
  validateMethod(namespace: string, serviceName: string, methodName: string): MethodVerdict {
    return validateMethod(this.snapshot(namespace), serviceName, methodName);
  }

  /**
   * @param version 0 for the one in force
   * @throws {CollectorError} NAMESPACE_NOT_FOUND, FILE_NOT_FOUND
   */
  getFile(namespace: string, name: string, version = 0n): RegisteredProto {
    const wanted = version === 0n ? undefined : version;
    return findFile(this.#core.existing(namespace), this.#builtIns, name, wanted);
  }

  /** The files in force, by name; built-in ones are left out. */
  listFiles(namespace: string, query: FilesQuery): FilesPage {
    return listFiles(this.#core.existing(namespace), query, this.#options.limits);
  }

  /** Every version of a file, the newest first. */
  listFileVersions(namespace: string, name: string, page: PageRequest): FilesPage {
    return listFileVersions(this.#core.existing(namespace), name, page, this.#options.limits);
  }

  /** Messages, enums and registered services, by name; built-in ones are left out. */
  listTypes(namespace: string, query: TypesQuery): ListedTypesPage {
    return listTypes(this.#core.existing(namespace), query, this.#options.limits);
  }

  /**
   * Files with all they import, each after its imports: what a client needs to use them.
   *
   * @param symbols names of types whose files are wanted; without names and symbols, every file of
   * the namespace
   */
  closure(
    namespace: string,
    fileNames: readonly string[],
    symbols: readonly string[],
  ): FileDescriptorSet {
    const state = this.#core.existing(namespace);
    return closureOf(state, this.#builtIns, this.snapshot(namespace), fileNames, symbols);
  }

  /**
   * Takes a file away with all its versions.
   *
   * @returns full names of what it defined
   * @throws {CollectorError} FILE_NOT_FOUND; FILE_IN_USE if another file imports it; TYPE_IN_USE if
   * a collection or a registered service needs one of its types
   */
  unregisterFile(namespace: string, name: string, validateOnly: boolean): Promise<string[]> {
    return this.#queue.run(async () => {
      this.#core.checkWritable(namespace);
      const state = this.#core.existing(namespace);
      const { usage } = this.#options;
      const removal = planFileRemoval(state, this.#builtIns, name, usage);
      if (!validateOnly) {
        const count = await this.#core.noteRemoval(namespace, "file", name);
        await this.#options.protos.write(removal.recordIds.map((id) => ({ kind: "delete", id })));
        count();
        this.#core.commit(removal.draft);
      }
      return removal.types;
    });
  }

  /**
   * Takes a message or an enum out of its file, which gets a new version.
   *
   * @throws {CollectorError} TYPE_NOT_FOUND; TYPE_IN_USE if something needs it
   */
  unregisterType(
    namespace: string,
    name: string,
    validateOnly: boolean,
  ): Promise<{ readonly fileName: string; readonly fileVersion: bigint }> {
    return this.#queue.run(async () => {
      this.#core.checkWritable(namespace);
      const state = this.#core.existing(namespace);
      const plan = await planTypeRemoval(this.snapshot(namespace), state, name, (incoming) =>
        this.#core.plan(namespace, incoming, false),
      );
      if (!validateOnly) await this.#core.carryOut(plan);
      const [outcome] = plan.outcomes;
      return { fileName: outcome?.name ?? "", fileVersion: outcome?.version ?? 0n };
    });
  }

  /**
   * @throws {CollectorError} ARGUMENT_MISSING, SERVICE_NOT_FOUND, TYPE_AMBIGUOUS; ARGUMENT_INVALID if
   * it is built in
   */
  unregisterService(namespace: string, name: string, validateOnly: boolean): Promise<void> {
    return this.#queue.run(async () => {
      this.#core.checkWritable(namespace);
      const state = this.#core.stateOf(namespace);
      const { serviceName, id } = findRegistered(this.snapshot(namespace), state, name);
      if (validateOnly) return;
      const count = await this.#core.noteRemoval(namespace, "service", serviceName);
      await this.#options.services.write([{ kind: "delete", id }]);
      count();
      const draft = this.#core.draft(namespace);
      draft.removeService(serviceName);
      this.#core.commit(draft);
    });
  }

  getNamespace(name: string): Namespace {
    return this.#namespaces.get(name);
  }

  /** Namespaces by name. */
  listNamespaces(page: PageRequest): NamespacesPage {
    const names = this.#namespaces.names();
    const found = pageOf(names, (name) => name, page, ["ListNamespaces"], this.#options.limits);
    return {
      namespaces: found.items.map((name) => this.#namespaces.get(name)),
      nextPageToken: found.nextPageToken,
    };
  }

  /** @throws {CollectorError} NAMESPACE_EXISTS, NAME_INVALID, ARGUMENT_INVALID */
  createNamespace(namespace: Namespace | undefined, validateOnly: boolean): Promise<Namespace> {
    return this.#queue.run(async () => {
      const made = await this.#namespaces.create(namespace, validateOnly);
      this.#core.forgetSnapshot(made.name);
      return made;
    });
  }

  /**
   * Makes a namespace exist from its first use on; one that exists is left as it is. Comes after
   * every change under way, so one that is being deleted is made anew, and types that are being
   * taken away are gone when the promise resolves.
   */
  ensureNamespace(name: string): Promise<void> {
    if (this.#queue.isIdle && this.#namespaces.has(name)) return Promise.resolve();
    return this.#queue.run(() => this.#namespaces.ensure(name));
  }

  /** @throws {CollectorError} NAMESPACE_NOT_FOUND, FIELD_UNKNOWN, VERSION_MISMATCH, SYSTEM_READ_ONLY */
  updateNamespace(
    namespace: Namespace | undefined,
    updateMask: readonly string[],
    validateOnly: boolean,
  ): Promise<Namespace> {
    return this.#queue.run(async () => {
      const updated = await this.#namespaces.update(namespace, updateMask, validateOnly);
      // Which built-in services are on is part of the snapshot.
      if (!validateOnly) this.#core.commit(this.#core.draft(updated.name));
      return updated;
    });
  }

  /**
   * Deletes a namespace with nothing in it.
   *
   * @throws {CollectorError} NAMESPACE_NOT_FOUND, NAMESPACE_NOT_EMPTY, VERSION_MISMATCH,
   * SYSTEM_READ_ONLY, ARGUMENT_INVALID for the default namespace
   */
  deleteNamespace(name: string, ifMatch: string, validateOnly: boolean): Promise<void> {
    return this.#queue.run(async () => {
      const { files } = this.#core.existing(name);
      const rest = files.size > 0 ? `${files.size} registered files` : "collections";
      if (files.size > 0 || this.#options.usage.hasCollections(name)) {
        throw new CollectorError(
          "NAMESPACE_NOT_EMPTY",
          `namespace ${name} still has ${rest}; take them away first`,
          { subject: { namespace: name } },
        );
      }
      await this.#namespaces.delete(name, ifMatch, validateOnly);
      if (validateOnly) return;
      this.#core.forget(name);
    });
  }

  /**
   * What is registered now, by namespace; `system` is left out. It stays as it is while the registry changes.
   *
   * @param namespace only this one; empty: all
   * @throws {CollectorError} NAMESPACE_NOT_FOUND
   */
  moment(namespace: string): readonly NamespaceMoment[] {
    const names = namespace === "" ? this.#namespaces.names() : [namespace];
    return names
      .filter((name) => name !== systemNamespace)
      .map((name) => ({ namespace: this.#namespaces.get(name), state: this.#core.stateOf(name) }));
  }

  /**
   * Gives a namespace what was archived of one: its settings, then files and services. What fails leaves the
   * rest to be done.
   *
   * @returns what failed, and nothing of which was done
   */
  restoreNamespace(archived: ArchivedNamespace, overwrite: boolean): Promise<CollectorError[]> {
    return this.#queue.run(async () => {
      const { name } = archived.namespace;
      const isEmpty =
        this.#core.stateOf(name).files.size === 0 && !this.#options.usage.hasCollections(name);
      return collectFailures([
        async () => {
          await this.#namespaces.restore(archived.namespace, { overwrite, isEmpty });
          // Which built-in services are on is part of the snapshot.
          this.#core.commit(this.#core.draft(name));
        },
        async () => {
          this.#core.checkWritable(name);
          await this.#namespaces.ensure(name);
          const { files, services, draft } = await planRestoration(archived, {
            ...this.#core.planOptions(name),
            compatible: this.#namespaces.isCompatible(name),
          });
          await storeHistories(this.#options.protos, name, files);
          if (files.length > 0) this.#core.commit(draft);
          await this.#core.putServices(name, [
            ...services,
            ...outdatedServices(draft, this.#options.nowMs()),
          ]);
        },
      ]);
    });
  }

  /** Whether an empty namespace could be given that. @throws {CollectorError} what speaks against it */
  async checkArchived(archived: ArchivedNamespace): Promise<void> {
    const { name } = archived.namespace;
    this.#core.checkWritable(name);
    const state = emptyState(name);
    await planRestoration(archived, { ...this.#core.planOptions(name), state, compatible: false });
  }
}
