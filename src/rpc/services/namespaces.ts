import type { Namespaces } from "../../gen/collector/namespaces_pb.ts";
import type { Registry } from "../../registry/registry.ts";
import type { ServiceHandlers } from "../call.ts";

/** `collector.Namespaces` over the {@link Registry}. */
export function namespaces(registry: Registry): ServiceHandlers<typeof Namespaces> {
  return {
    createNamespace: ({ namespace, validateOnly }) =>
      registry.createNamespace(namespace, validateOnly),

    async getNamespace({ name }) {
      return registry.getNamespace(name);
    },

    async listNamespaces(request) {
      const page = registry.listNamespaces(request);
      return { namespaces: [...page.namespaces], nextPageToken: page.nextPageToken };
    },

    updateNamespace: ({ namespace, updateMask, validateOnly }) =>
      registry.updateNamespace(namespace, updateMask, validateOnly),

    async deleteNamespace({ name, ifMatch, validateOnly }) {
      await registry.deleteNamespace(name, ifMatch, validateOnly);
      return {};
    },
  };
}
