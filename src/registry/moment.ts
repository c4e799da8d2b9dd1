import type { Namespace } from "../gen/collector/namespaces_pb.ts";
import type { RegisteredProto, RegisteredService } from "../gen/collector/registry_pb.ts";
import { orderByImports } from "./import-order.ts";
import type { NamespaceState } from "./namespace-state.ts";
import { toRegisteredProto } from "./records.ts";

/** What was registered in a namespace at one moment. */
export interface NamespaceMoment {
  readonly namespace: Namespace;
  readonly state: NamespaceState;
}

/** One thing that a registry holds. */
export type RegistryEntry =
  | { readonly kind: "namespace"; readonly value: Namespace }
  | { readonly kind: "proto"; readonly value: RegisteredProto }
  | { readonly kind: "service"; readonly value: RegisteredService };

/**
 * Everything of a namespace: its settings, every version of its files, the oldest first and files after those
 * that they import, and its services.
 */
export function* entriesOf({ namespace, state }: NamespaceMoment): Iterable<RegistryEntry> {
  yield { kind: "namespace", value: namespace };
  const importsOf = (name: string) => state.files.get(name)?.linked.index.file.dependency ?? [];
  const { names } = orderByImports(new Set(state.files.keys()), importsOf);
  for (const name of names) {
    for (const version of state.files.get(name)?.versions ?? []) {
      yield { kind: "proto", value: toRegisteredProto(state.namespace, version) };
    }
  }
  for (const { record } of state.services.values()) yield { kind: "service", value: record };
}

/** How many entries that makes. */
export function countEntries({ state }: NamespaceMoment): number {
  let count = 1 + state.services.size;
  for (const { versions } of state.files.values()) count += versions.length;
  return count;
}
