import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { SystemRecords } from "../collections/system-records.ts";
import {
  RegistrationKind as Kind,
  type RemovedRegistration,
  RemovedRegistrationSchema,
} from "../gen/collector/sharing_pb.ts";
import { removalRecordId } from "./record-ids.ts";

/** What can be shared. */
export type RegistrationKind = "file" | "service";

/** Names of a namespace of which removals are kept; of more, the ones that were removed first are forgotten. */
export const removalsMax = 10_000;

const kinds: Readonly<Record<RegistrationKind, Kind>> = {
  file: Kind.FILE,
  service: Kind.SERVICE,
};

interface Entry {
  readonly kind: RegistrationKind;
  readonly name: string;
  /** How often it was removed, here or elsewhere. */
  readonly count: number;
}

export interface RemovalTableOptions {
  /** Collection `removals` of namespace `system`. */
  readonly records: SystemRecords<RemovedRegistration>;
  /** Milliseconds since 1970. */
  readonly nowMs: () => number;
  /** Told when a name of a namespace counts more removals. */
  readonly onChange: (namespace: string) => void;
}

/**
 * How often a registration was removed, in namespaces whose registrations are shared. It tells which of two
 * collectors knows the later news of a name: one that has it after as many removals as another one that
 * has it not is the later one; one that counts more removals is later than both.
 */
export class RemovalTable {
  readonly #records: SystemRecords<RemovedRegistration>;
  readonly #nowMs: () => number;
  readonly #onChange: (namespace: string) => void;
  /** By namespace and then by kind and name, in the order in which they were removed. */
  readonly #byNamespace = new Map<string, Map<string, Entry>>();
  /** Removals elsewhere that were not followed here, until the name is registered again. */
  readonly #resisted = new Map<string, number>();
  readonly #revisions = new Map<string, number>();

  private constructor(options: RemovalTableOptions) {
    this.#records = options.records;
    this.#nowMs = options.nowMs;
    this.#onChange = options.onChange;
  }

  static async open(options: RemovalTableOptions): Promise<RemovalTable> {
    const { records } = options;
    const table = new RemovalTable(options);
    for await (const { value } of records.all()) {
      const kind = value.kind === Kind.SERVICE ? "service" : "file";
      table.#put(value.namespace, { kind, name: value.name, count: Number(value.removals) });
    }
    return table;
  }

  /** Grows with every change in a namespace. */
  revision(namespace: string): number {
    return this.#revisions.get(namespace) ?? 0;
  }

  count(namespace: string, kind: RegistrationKind, name: string): number {
    return this.#byNamespace.get(namespace)?.get(keyOf(kind, name))?.count ?? 0;
  }

  /** Every name of a namespace that was ever removed, whether it is there again or not. */
  *of(namespace: string): Iterable<Entry> {
    yield* this.#byNamespace.get(namespace)?.values() ?? [];
  }

  /** How many removals there are with the next one. */
  nextCount(namespace: string, kind: RegistrationKind, name: string): number {
    const resisted = this.#resisted.get(resistedKey(namespace, kind, name)) ?? 0;
    return Math.max(this.count(namespace, kind, name), resisted) + 1;
  }

  /** Counts at least as many removals as another collector. */
  async raise(
    namespace: string,
    kind: RegistrationKind,
    name: string,
    count: number,
  ): Promise<void> {
    const apply = await this.prepare(namespace, kind, name, count);
    apply();
  }

  /**
   * Keeps that so many removals are counted from when the result is called: in one go with what is removed. If it
   * counted before, others would take what is still there for something that was registered anew since.
   */
  async prepare(
    namespace: string,
    kind: RegistrationKind,
    name: string,
    count: number,
  ): Promise<() => void> {
    if (count <= this.count(namespace, kind, name)) return () => undefined;
    const value = create(RemovedRegistrationSchema, {
      namespace,
      kind: kinds[kind],
      name,
      removals: BigInt(count),
      removedAt: timestampFromMs(this.#nowMs()),
    });
    const oldest = this.#oldestOver(namespace, kind, name);
    await this.#records.write([
      { kind: "put", id: removalRecordId(namespace, kind, name), value },
      ...oldest.map(({ kind: of, name: old }) => {
        return { kind: "delete" as const, id: removalRecordId(namespace, of, old) };
      }),
    ]);
    return () => {
      for (const old of oldest) {
        this.#byNamespace.get(namespace)?.delete(keyOf(old.kind, old.name));
      }
      this.#resisted.delete(resistedKey(namespace, kind, name));
      this.#put(namespace, { kind, name, count });
      this.#onChange(namespace);
    };
  }

  /** Another collector has removed what stays here. */
  resist(namespace: string, kind: RegistrationKind, name: string, count: number): void {
    this.#resisted.set(resistedKey(namespace, kind, name), count);
  }

  /** It is registered again by a caller: that is later than any removal that is known here. */
  async reassert(namespace: string, kind: RegistrationKind, name: string): Promise<void> {
    const count = this.#resisted.get(resistedKey(namespace, kind, name));
    if (count !== undefined) await this.raise(namespace, kind, name, count);
  }

  #put(namespace: string, entry: Entry): void {
    const entries = this.#byNamespace.get(namespace) ?? new Map<string, Entry>();
    this.#byNamespace.set(namespace, entries);
    const key = keyOf(entry.kind, entry.name);
    // The one that was removed last is the last one.
    entries.delete(key);
    entries.set(key, entry);
    this.#revisions.set(namespace, this.revision(namespace) + 1);
  }

  #oldestOver(namespace: string, kind: RegistrationKind, name: string): Entry[] {
    const entries = this.#byNamespace.get(namespace);
    if (entries === undefined || entries.has(keyOf(kind, name))) return [];
    return entries.size < removalsMax ? [] : [...entries.values()].slice(0, 1);
  }
}

function keyOf(kind: RegistrationKind, name: string): string {
  return `${kind} ${name}`;
}

/** No namespace has a slash. */
function resistedKey(namespace: string, kind: RegistrationKind, name: string): string {
  return `${namespace}/${keyOf(kind, name)}`;
}
