import type { Registry } from "../../registry/registry.ts";
import type { LocalExecutors } from "../executor.ts";
import type { OfferSource } from "./own-offer.ts";
import { keyOfLabels, type OfferedService } from "./peer-offer.ts";

/** What this collector offers to others: its namespaces, and the services that are run here. */
export function localOffers(
  registry: Pick<Registry, "namespaceNames" | "snapshot" | "lookupService">,
  executors: LocalExecutors,
): OfferSource {
  return {
    namespaces: () => registry.namespaceNames(),
    *servicesOf(namespace) {
      const labelsOf = new Map<string, Map<string, Readonly<Record<string, string>>>>();
      for (const { serviceName, labels } of executors.all(namespace)) {
        const sets =
          labelsOf.get(serviceName) ?? new Map<string, Readonly<Record<string, string>>>();
        labelsOf.set(serviceName, sets);
        if (Object.keys(labels).length > 0) {
          sets.set(keyOfLabels(labels), labels);
        }
      }
      for (const [name, sets] of labelsOf) yield service(namespace, name, [...sets.values()]);
    },
  };

  function service(
    namespace: string,
    name: string,
    labels: readonly Readonly<Record<string, string>>[],
  ): OfferedService {
    const isRegistered = registry.snapshot(namespace).services.has(name);
    const { idempotentMethods = [] } = isRegistered ? registry.lookupService(namespace, name) : {};
    return { name, executors: labels, idempotentMethods: new Set(idempotentMethods) };
  }
}
