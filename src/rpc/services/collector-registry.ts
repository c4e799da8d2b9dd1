import type { CollectorRegistry } from "../../gen/collector/registry_pb.ts";
import type { Executor } from "../../mesh/executor.ts";
import { toListed } from "../../mesh/executor-list.ts";
import type { Registry } from "../../registry/registry.ts";
import type { ServiceHandlers } from "../call.ts";

/** `collector.CollectorRegistry` over the {@link Registry}. */
export function collectorRegistry(
  registry: Registry,
  executorsOf: (namespace: string, serviceName: string) => readonly Executor[],
): ServiceHandlers<typeof CollectorRegistry> {
  return {
    async registerProto({ namespace, fileDescriptor, dependencies, validateOnly }) {
      const result = await registry.registerFile({
        namespace,
        file: fileDescriptor,
        dependencies,
        validateOnly,
      });
      return {
        protoId: result.protoId,
        version: result.version,
        registeredMessages: [...result.registeredMessages],
        files: result.files.map((file) => ({ ...file })),
      };
    },

    async registerService(request) {
      const result = await registry.registerService({
        namespace: request.namespace,
        serviceName: request.serviceName,
        fileName: request.fileName,
        serviceDescriptor: request.serviceDescriptor,
        file: request.fileDescriptor,
        hosting: request,
        validateOnly: request.validateOnly,
      });
      return {
        serviceId: result.serviceId,
        registeredMethods: [...result.registeredMethods],
        endpoints: [...result.endpoints],
      };
    },

    async lookupService({ namespace, serviceName }) {
      const service = registry.lookupService(namespace, serviceName);
      const executors = executorsOf(namespace, service.serviceName).map(toListed);
      return { service, executors };
    },

    async validateMethod({ namespace, serviceName, methodName }) {
      return registry.validateMethod(namespace, serviceName, methodName);
    },

    async listServices(request) {
      const { services, nextPageToken } = registry.listServices(request.namespace, request);
      return { services: [...services], nextPageToken };
    },
  };
}
