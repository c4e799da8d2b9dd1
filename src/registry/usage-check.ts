import { CollectorError } from "../errors.ts";
import type { NamespaceState } from "./namespace-state.ts";
import type { TypeUsage } from "./type-usage.ts";
import type { Problems } from "./validation/problems.ts";

/** @throws {CollectorError} TYPE_IN_USE if a collection or a registered service needs a type */
export function checkUnused(
  state: NamespaceState,
  types: ReadonlySet<string>,
  usage: TypeUsage,
): void {
  if (types.size === 0) return;
  const { namespace } = state;
  const collections = usage.collectionsUsing(namespace, types).toSorted();
  const [collection] = collections;
  if (collection !== undefined) {
    const more = collections.length === 1 ? "" : ` and ${collections.length - 1} more`;
    throw new CollectorError(
      "TYPE_IN_USE",
      `collection ${collection}${more} in namespace ${namespace} uses a type that would go away; delete it first`,
      { subject: { namespace, collection } },
    );
  }
  for (const service of state.services.keys()) {
    if (!types.has(service)) continue;
    throw new CollectorError(
      "TYPE_IN_USE",
      `service ${service} is registered in namespace ${namespace}; unregister it first`,
      { subject: { namespace, service } },
    );
  }
}

/** The error about a file that would no longer link. */
export function notLinking(namespace: string, name: string, lost: Problems): CollectorError {
  return new CollectorError(
    "TYPE_IN_USE",
    `${name}, which is registered in namespace ${namespace}, needs what this change takes away: ${lost.first}`,
    { subject: { namespace, file: name } },
  );
}
