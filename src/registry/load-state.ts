import type { SystemRecords } from "../collections/system-records.ts";
import { CollectorError } from "../errors.ts";
import type { RegisteredProto, RegisteredService } from "../gen/collector/registry_pb.ts";
import type { BuiltIns } from "./built-ins.ts";
import { orderByImports } from "./import-order.ts";
import {
  emptyState,
  type FileVersion,
  NamespaceDraft,
  type NamespaceState,
  visibleFiles,
} from "./namespace-state.ts";
import { toFileVersion } from "./records.ts";
import { indexFile } from "./schema/file-index.ts";
import { linkFile } from "./schema/link-file.ts";
import { canonicalCopy } from "./schema/normalize.ts";

/**
 * Puts the state of every namespace together from its records. Files were checked when they were
 * registered, so they are only linked.
 *
 * @throws {CollectorError} STORAGE_CORRUPT naming the file that does not link
 */
export function loadStates(
  protos: readonly RegisteredProto[],
  services: readonly RegisteredService[],
  builtIns: BuiltIns,
): Map<string, NamespaceState> {
  const byNamespace = new Map<string, Map<string, FileVersion[]>>();
  for (const record of protos) {
    const { name, version } = toFileVersion(record);
    const files = getOrInsert(byNamespace, record.namespace, () => new Map());
    getOrInsert(files, name, () => []).push(version);
  }
  const states = new Map<string, NamespaceState>();
  for (const [namespace, files] of byNamespace) {
    const draft = new NamespaceDraft(emptyState(namespace), builtIns);
    placeAll(draft, files);
    for (const record of services) {
      if (record.namespace !== namespace) continue;
      const { id, fileName, serviceName } = record;
      draft.setService(serviceName, { id, fileName, record });
    }
    states.set(namespace, draft.commit(1n));
  }
  return states;
}

function placeAll(draft: NamespaceDraft, files: ReadonlyMap<string, FileVersion[]>): void {
  const newest = new Map<string, ReturnType<typeof indexFile>>();
  for (const [name, versions] of files) {
    versions.sort((a, b) => (a.version < b.version ? -1 : 1));
    const last = versions.at(-1);
    if (last !== undefined) newest.set(name, indexFile(canonicalCopy(last.source)));
  }
  const importsOf = (name: string) => newest.get(name)?.file.dependency ?? [];
  const order = orderByImports(new Set(newest.keys()), importsOf);
  if (order.kind === "cycle") throw corrupt(draft.namespace, order.names[0] ?? "", undefined);
  for (const name of order.names) {
    const index = newest.get(name);
    const versions = files.get(name);
    const last = versions?.at(-1);
    if (index === undefined || versions === undefined || last === undefined) continue;
    const visible = visibleFiles(index.file.dependency, (imported) => draft.file(imported));
    try {
      const desc = linkFile(index.file, {
        direct: visible.direct.map((file) => file.desc),
        reexported: visible.reexported.map((file) => file.desc),
      });
      const { source, version } = last;
      draft.place({ linked: { name, version, index, desc, source }, versions });
    } catch (error) {
      throw corrupt(draft.namespace, name, error);
    }
  }
}

function corrupt(namespace: string, name: string, cause: unknown): CollectorError {
  return new CollectorError(
    "STORAGE_CORRUPT",
    `the registered file ${name} of namespace ${namespace} cannot be loaded`,
    { subject: { namespace, file: name }, cause },
  );
}

function getOrInsert<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  const found = map.get(key);
  if (found !== undefined) return found;
  const made = make();
  map.set(key, made);
  return made;
}

/** Everything that records hold. */
export async function valuesOf<M extends RegisteredProto | RegisteredService>(
  records: SystemRecords<M>,
): Promise<M[]> {
  const values: M[] = [];
  for await (const { value } of records.all()) values.push(value);
  return values;
}
