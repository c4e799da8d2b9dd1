import { createHash } from "node:crypto";
import { CollectorError } from "../errors.ts";
import { orderByImports } from "./import-order.ts";
import { systemNamespace } from "./names.ts";
import type { FileVersion, NamespaceState } from "./namespace-state.ts";
import type { Queue } from "./queue.ts";
import { originOf } from "./records.ts";
import { isOwnFile, type RegistryCore } from "./registry-core.ts";
import type { RegistrationKind } from "./removal-table.ts";
import { storeHistories } from "./restoration.ts";
import { chooseService, outdatedServices, serviceState } from "./services.ts";
import { planTakeover, type TakenFile } from "./takeover.ts";
import { planFileRemoval } from "./unregistration.ts";

/** Versions of a file that other collectors are told of, the newest ones. */
export const sharedVersionsMax = 100;

/** What one collector tells another one of a registration. */
export interface SharedEntry {
  readonly kind: RegistrationKind;
  /** Of the file, or the full one of the service. */
  readonly name: string;
  /** How often it was removed; see {@link RemovalTable}. */
  readonly removals: number;
  /** Whether it is not there now. */
  readonly isRemoved: boolean;
  /** Hashes of its newest versions, the oldest first; empty of a service. */
  readonly versions: readonly string[];
  /** Number of the version in force; 0 of a service. */
  readonly version: bigint;
  /** Of a service, the file that defines it. */
  readonly fileName: string;
  /** Id of the collector where it was registered; empty if that was here. */
  readonly origin: string;
}

/** A service of another collector. */
export interface TakenService {
  readonly name: string;
  readonly fileName: string;
  readonly origin: string;
  readonly removals: number;
}

/** What the registrations of a namespace come to: two collectors where it is equal have the same. */
interface Summary {
  readonly state: NamespaceState;
  readonly removals: number;
  readonly entries: readonly SharedEntry[];
  readonly digest: string;
}

/** What collectors that share registrations tell each other of them, and take over from each other. */
export class RegistryExchange {
  readonly #core: RegistryCore;
  readonly #queue: Queue;
  readonly #summaries = new Map<string, Summary>();

  constructor(core: RegistryCore, queue: Queue) {
    this.#core = core;
    this.#queue = queue;
  }

  /** Everything of a namespace, files after those that they import, and what was removed. */
  entries(namespace: string): readonly SharedEntry[] {
    return this.#summary(namespace).entries;
  }

  /** Equal where the same is registered, whatever its history. Hex; asking again costs nothing. */
  digest(namespace: string): string {
    return this.#summary(namespace).digest;
  }

  /** Whether a caller has registered it here, beside what came from elsewhere. */
  isOwn(namespace: string, kind: RegistrationKind, name: string): boolean {
    const { files, services } = this.#core.stateOf(namespace);
    if (kind === "file") {
      const file = files.get(name);
      return file !== undefined && isOwnFile(file);
    }
    const service = services.get(name);
    return service !== undefined && originOf(service.record) === "";
  }

  /** A version of a file by its hash, if it is there. */
  version(namespace: string, name: string, hash: string): FileVersion | undefined {
    const versions = this.#core.stateOf(namespace).files.get(name)?.versions;
    return versions?.findLast((version) => hashOf(version) === hash);
  }

  /**
   * Adds versions of files: all of them or none.
   *
   * @returns false, and nothing is done, if another version than the basis of one is in force by now
   * @throws {CollectorError} what {@link planTakeover} throws
   */
  takeFiles(namespace: string, files: readonly TakenFile[]): Promise<boolean> {
    return this.#queue.run(async () => {
      const core = this.#core;
      core.checkWritable(namespace);
      const state = core.stateOf(namespace);
      const isOutdated = ({ name, basis }: TakenFile): boolean => {
        const newest = state.files.get(name)?.versions.at(-1);
        return basis !== (newest === undefined ? "" : hashOf(newest));
      };
      if (files.some(isOutdated)) return false;
      const compatible = core.namespaces.isCompatible(namespace);
      const plan = await planTakeover(files, { ...core.planOptions(namespace), compatible });
      await core.namespaces.ensure(namespace);
      for (const { name, removals } of files) {
        await core.removals.raise(namespace, "file", name, removals);
      }
      await storeHistories(core.options.protos, namespace, plan.files);
      if (plan.files.length > 0) core.commit(plan.draft);
      await core.putServices(namespace, outdatedServices(plan.draft, core.options.nowMs()));
      return true;
    });
  }

  /** @throws {CollectorError} FILE_NOT_FOUND, SERVICE_NOT_FOUND if its file is not there or lacks it */
  takeService(namespace: string, service: TakenService): Promise<void> {
    return this.#queue.run(async () => {
      const core = this.#core;
      core.checkWritable(namespace);
      const { name, fileName, origin, removals } = service;
      const draft = core.draft(namespace);
      if (draft.services.has(name)) return;
      const entry = chooseService(draft, core.builtIns, {
        serviceName: name,
        fileName,
        serviceDescriptor: undefined,
      });
      if (entry.builtIn || entry.fullName !== name) {
        const text = `${name} is no service of a file that is registered here`;
        throw new CollectorError("SERVICE_NOT_FOUND", text, {
          subject: { namespace, service: name },
        });
      }
      const nowMs = core.options.nowMs();
      const made = serviceState(namespace, entry, nowMs, { current: undefined, origin });
      await core.removals.raise(namespace, "service", name, removals);
      await core.putServices(namespace, [[name, made]]);
    });
  }

  /**
   * Follows a removal elsewhere. What was registered here, or is in use here, stays.
   *
   * @returns why it stays; empty if it is gone
   */
  takeRemoval(
    namespace: string,
    kind: RegistrationKind,
    name: string,
    removals: number,
  ): Promise<string> {
    return this.#queue.run(async () => {
      const { removals: table } = this.#core;
      if (removals <= table.count(namespace, kind, name)) return "";
      const state = this.#core.stateOf(namespace);
      const isThere = kind === "file" ? state.files.has(name) : state.services.has(name);
      const kept = isThere ? await this.#remove(namespace, kind, name, removals) : "";
      if (kept === "") await table.raise(namespace, kind, name, removals);
      else table.resist(namespace, kind, name, removals);
      return kept;
    });
  }

  /** The other end counts more removals of what both have: from now on that counts here too. */
  countRemovals(
    namespace: string,
    kind: RegistrationKind,
    name: string,
    removals: number,
  ): Promise<void> {
    return this.#queue.run(() => this.#core.removals.raise(namespace, kind, name, removals));
  }

  async #remove(
    namespace: string,
    kind: RegistrationKind,
    name: string,
    removals: number,
  ): Promise<string> {
    const core = this.#core;
    if (this.isOwn(namespace, kind, name)) return "it was registered here too";
    if (kind === "service") {
      const id = core.stateOf(namespace).services.get(name)?.id ?? "";
      if (core.options.usage.isServed?.(namespace, name) === true) return "it is run here";
      const count = await core.removals.prepare(namespace, kind, name, removals);
      await core.options.services.write([{ kind: "delete", id }]);
      count();
      const draft = core.draft(namespace);
      draft.removeService(name);
      core.commit(draft);
      return "";
    }
    try {
      const { usage } = core.options;
      const removal = planFileRemoval(core.stateOf(namespace), core.builtIns, name, usage);
      const count = await core.removals.prepare(namespace, kind, name, removals);
      await core.options.protos.write(removal.recordIds.map((id) => ({ kind: "delete", id })));
      count();
      core.commit(removal.draft);
      return "";
    } catch (error) {
      if (error instanceof CollectorError && inUse.has(error.reason)) return error.message;
      throw error;
    }
  }

  #summary(namespace: string): Summary {
    const state = this.#core.stateOf(namespace);
    const removals = this.#core.removals.revision(namespace);
    const known = this.#summaries.get(namespace);
    if (known?.state === state && known.removals === removals) return known;
    const entries = namespace === systemNamespace ? [] : [...this.#entriesOf(state)];
    const made = { state, removals, entries, digest: digestOf(entries) };
    // Names from outside must not fill the memory.
    if (this.#core.namespaces.has(namespace)) this.#summaries.set(namespace, made);
    return made;
  }

  *#entriesOf(state: NamespaceState): Iterable<SharedEntry> {
    const { namespace, files, services } = state;
    const { removals } = this.#core;
    const importsOf = (name: string) => files.get(name)?.linked.index.file.dependency ?? [];
    const { names } = orderByImports(new Set([...files.keys()].sort()), importsOf);
    for (const name of names) {
      const versions = files.get(name)?.versions ?? [];
      const newest = versions.at(-1);
      yield {
        kind: "file",
        name,
        removals: removals.count(namespace, "file", name),
        isRemoved: false,
        versions: versions.slice(-sharedVersionsMax).map(hashOf),
        version: newest?.version ?? 0n,
        fileName: "",
        origin: newest?.origin ?? "",
      };
    }
    for (const [name, { fileName, record }] of [...services].sort(([a], [b]) => (a < b ? -1 : 1))) {
      yield {
        kind: "service",
        name,
        removals: removals.count(namespace, "service", name),
        isRemoved: false,
        versions: [],
        version: 0n,
        fileName,
        origin: originOf(record),
      };
    }
    for (const { kind, name, count } of removals.of(namespace)) {
      if (kind === "file" ? files.has(name) : services.has(name)) continue;
      yield {
        kind,
        name,
        removals: count,
        isRemoved: true,
        versions: [],
        version: 0n,
        fileName: "",
        origin: "",
      };
    }
  }
}

const inUse: ReadonlySet<string> = new Set(["FILE_IN_USE", "TYPE_IN_USE"]);

const hashBytes = 16;
const hashes = new WeakMap<Uint8Array, string>();

/** Names the content of a version, in hex. */
export function hashOf({ canonical }: FileVersion): string {
  const known = hashes.get(canonical);
  if (known !== undefined) return known;
  const hash = createHash("sha256")
    .update(canonical)
    .digest("hex")
    .slice(0, 2 * hashBytes);
  hashes.set(canonical, hash);
  return hash;
}

/** Where a service is and where it came from is no part of it: that differs between collectors. */
function digestOf(entries: readonly SharedEntry[]): string {
  const lines = entries.map(({ kind, name, removals, isRemoved, versions }) =>
    JSON.stringify([kind, name, removals, isRemoved, versions.at(-1) ?? ""]),
  );
  return createHash("sha256")
    .update(lines.sort().join("\n"))
    .digest("hex")
    .slice(0, 2 * hashBytes);
}
