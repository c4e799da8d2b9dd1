import type { TypeRegistry } from "../../gen/collector/type_registry_pb.ts";
import type { Registry } from "../../registry/registry.ts";
import type { ServiceHandlers } from "../call.ts";

/** `collector.TypeRegistry` over the {@link Registry}: reads back and takes away what is registered. */
export function typeRegistry(registry: Registry): ServiceHandlers<typeof TypeRegistry> {
  return {
    async getFile({ namespace, name, version }) {
      return { file: registry.getFile(namespace, name, version) };
    },

    async listFiles(request) {
      const { files, nextPageToken } = registry.listFiles(request.namespace, request);
      return { files: [...files], nextPageToken };
    },

    async listFileVersions(request) {
      const { namespace, name } = request;
      const { files, nextPageToken } = registry.listFileVersions(namespace, name, request);
      return { files: [...files], nextPageToken };
    },

    async getFileDescriptorSet({ namespace, fileNames, symbols }) {
      return { fileDescriptorSet: registry.closure(namespace, fileNames, symbols) };
    },

    async listTypes(request) {
      const { types, nextPageToken } = registry.listTypes(request.namespace, request);
      return { types: [...types], nextPageToken };
    },

    async unregisterFile({ namespace, name, validateOnly }) {
      return { unregisteredTypes: await registry.unregisterFile(namespace, name, validateOnly) };
    },

    async unregisterType({ namespace, name, validateOnly }) {
      return registry.unregisterType(namespace, name, validateOnly);
    },

    async unregisterService({ namespace, name, validateOnly }) {
      await registry.unregisterService(namespace, name, validateOnly);
      return {};
    },
  };
}
