import type { SystemChange } from "../collections/system-records.ts";
import type { RegisteredProto } from "../gen/collector/registry_pb.ts";
import { BuiltIns } from "./built-ins.ts";
import type { IncomingFile } from "./intake.ts";
import { loadStates, valuesOf } from "./load-state.ts";
import { checkNamespaceName } from "./names.ts";
import {
  emptyState,
  type FileState,
  NamespaceDraft,
  type NamespaceState,
  type ServiceState,
} from "./namespace-state.ts";
import { NamespaceTable } from "./namespaces.ts";
import { toRegisteredProto } from "./records.ts";
import { planRegistration, type RegistrationPlan } from "./registration.ts";
import { type RegistrationKind, RemovalTable } from "./removal-table.ts";
import type { RegistryOptions } from "./requests.ts";
import type { RestorationOptions } from "./restoration.ts";
import { outdatedServices } from "./services.ts";
import { NamespaceSnapshot } from "./snapshot.ts";

/**
 * What a registry holds, in memory and on disk, and the steps by which it changes. Steps that write must
 * not overlap; whoever calls them sees to that.
 */
export class RegistryCore {
  readonly options: RegistryOptions;
  readonly builtIns: BuiltIns;
  readonly namespaces: NamespaceTable;
  readonly removals: RemovalTable;
  readonly #states: Map<string, NamespaceState>;
  readonly #snapshots = new Map<string, NamespaceSnapshot>();
  /** Grows over all namespaces, so that one made anew goes on where the old one stopped. */
  #revision = 1n;

  private constructor(
    options: RegistryOptions,
    builtIns: BuiltIns,
    namespaces: NamespaceTable,
    removals: RemovalTable,
    states: Map<string, NamespaceState>,
  ) {
    this.options = options;
    this.builtIns = builtIns;
    this.namespaces = namespaces;
    this.removals = removals;
    this.#states = states;
  }

  /** @throws {CollectorError} STORAGE_CORRUPT if a record is damaged or a file no longer links */
  static async open(options: RegistryOptions): Promise<RegistryCore> {
    const builtIns = new BuiltIns(options.builtInServices);
    const { namespaces: records, protos, services } = options;
    const builtInServices = new Set(builtIns.services.keys());
    const namespaces = await NamespaceTable.open({ ...options, records, builtInServices });
    const removals = await RemovalTable.open({
      records: options.removals,
      nowMs: options.nowMs,
      onChange: (namespace) => options.onChange?.(namespace),
    });
    const states = loadStates(await valuesOf(protos), await valuesOf(services), builtIns);
    // A namespace is written before what is in it, so this finds something only in damaged data.
    for (const name of states.keys()) await namespaces.ensure(name);
    return new RegistryCore(options, builtIns, namespaces, removals, states);
  }

  snapshot(namespace: string): NamespaceSnapshot {
    const known = this.#snapshots.get(namespace);
    if (known !== undefined) return known;
    const made = new NamespaceSnapshot(
      this.stateOf(namespace),
      this.builtIns,
      this.namespaces.disabledServices(namespace),
    );
    // Names from outside must not fill the memory.
    if (this.namespaces.has(namespace)) this.#snapshots.set(namespace, made);
    return made;
  }

  /** The settings of a namespace have changed, or there is one that was not there. */
  forgetSnapshot(namespace: string): void {
    this.#snapshots.delete(namespace);
  }

  /** A namespace is gone. */
  forget(namespace: string): void {
    this.#states.delete(namespace);
    this.#snapshots.delete(namespace);
  }

  stateOf(namespace: string): NamespaceState {
    return this.#states.get(namespace) ?? emptyState(namespace);
  }

  /** @throws {CollectorError} NAMESPACE_NOT_FOUND */
  existing(namespace: string): NamespaceState {
    this.namespaces.get(namespace);
    return this.stateOf(namespace);
  }

  /** @throws {CollectorError} NAME_INVALID, SYSTEM_READ_ONLY */
  checkWritable(namespace: string): void {
    checkNamespaceName(namespace);
    this.namespaces.checkWritable(namespace);
  }

  planOptions(namespace: string): Omit<RestorationOptions, "compatible"> {
    const { limits, usage, nowMs } = this.options;
    const state = this.stateOf(namespace);
    return { state, builtIns: this.builtIns, limits, usage, nowMs: nowMs() };
  }

  plan(
    namespace: string,
    incoming: readonly IncomingFile[],
    reuseVersions = true,
  ): Promise<RegistrationPlan> {
    const compatible = this.namespaces.isCompatible(namespace);
    const options = this.planOptions(namespace);
    return planRegistration(incoming, { ...options, compatible, reuseVersions });
  }

  /** Carries out what a caller has asked for: from now on its files are registered here, wherever they came from. */
  async register(plan: RegistrationPlan): Promise<void> {
    await this.carryOut(plan);
    const { namespace } = plan.draft;
    for (const { name } of plan.outcomes) {
      await this.#claimFile(namespace, name);
      await this.removals.reassert(namespace, "file", name);
    }
  }

  async carryOut({ draft, added }: RegistrationPlan): Promise<void> {
    const { namespace } = draft;
    await this.namespaces.ensure(namespace);
    if (added.length > 0) {
      const changes = added.map(({ version }): SystemChange<RegisteredProto> => {
        return { kind: "put", id: version.id, value: toRegisteredProto(namespace, version) };
      });
      await this.options.protos.write(changes);
      this.commit(draft);
    }
    await this.putServices(namespace, outdatedServices(draft, this.options.nowMs()));
  }

  async putServices(
    namespace: string,
    services: readonly (readonly [fullName: string, ServiceState])[],
  ): Promise<void> {
    if (services.length === 0) return;
    await this.options.services.write(
      services.map(([, { id, record }]) => ({ kind: "put", id, value: record })),
    );
    const draft = this.draft(namespace);
    for (const [fullName, state] of services) draft.setService(fullName, state);
    this.commit(draft);
  }

  /** A service was registered by a caller, perhaps again. */
  async claimService(namespace: string, fullName: string): Promise<void> {
    await this.removals.reassert(namespace, "service", fullName);
  }

  /**
   * Written before a caller's removal, so that what is removed does not come back from elsewhere.
   *
   * @returns to be called when it is removed; see {@link RemovalTable.prepare}
   */
  async noteRemoval(namespace: string, kind: RegistrationKind, name: string): Promise<() => void> {
    if (this.options.keepsRemovals?.(namespace) !== true) return () => undefined;
    const { removals } = this;
    return await removals.prepare(namespace, kind, name, removals.nextCount(namespace, kind, name));
  }

  draft(namespace: string): NamespaceDraft {
    return new NamespaceDraft(this.stateOf(namespace), this.builtIns);
  }

  commit(draft: NamespaceDraft): void {
    this.#revision += 1n;
    this.#states.set(draft.namespace, draft.commit(this.#revision));
    this.#snapshots.delete(draft.namespace);
    this.options.onChange?.(draft.namespace);
  }

  /** What was taken over from another collector is registered here too from now on. */
  async #claimFile(namespace: string, name: string): Promise<void> {
    const current = this.stateOf(namespace).files.get(name);
    const newest = current?.versions.at(-1);
    if (current === undefined || newest === undefined || isOwnFile(current)) return;
    const claimed = { ...newest, origin: "" };
    const value = toRegisteredProto(namespace, claimed);
    await this.options.protos.write([{ kind: "put", id: claimed.id, value }]);
    const draft = this.draft(namespace);
    draft.place({ ...current, versions: [...current.versions.slice(0, -1), claimed] });
    this.commit(draft);
  }
}

/** Whether a caller has registered a version of a file here. */
export function isOwnFile({ versions }: FileState): boolean {
  return versions.some(({ origin }) => origin === "");
}
