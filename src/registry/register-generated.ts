import type { DescFile, DescService } from "@bufbuild/protobuf";
import type { FileDescriptorProto } from "@bufbuild/protobuf/wkt";
import { isReservedPackage } from "./built-ins.ts";
import type { Registry } from "./registry.ts";

/**
 * Registers a service of generated code with the file that defines it and what that imports. What is
 * registered already stays as it is.
 *
 * @throws {CollectorError} what {@link Registry.registerFile} and {@link Registry.registerService} throw
 */
export async function registerGenerated(
  registry: Registry,
  service: DescService,
  namespace: string,
): Promise<void> {
  const { proto } = service.file;
  const dependencies = importsOf(service.file);
  await registry.registerFile({ namespace, file: proto, dependencies, validateOnly: false });
  await registry.registerService({
    namespace,
    serviceName: service.typeName,
    fileName: proto.name,
    serviceDescriptor: undefined,
    file: undefined,
    validateOnly: false,
  });
}

/** What a file imports, directly or not, and no namespace has by itself. */
function importsOf(root: DescFile): FileDescriptorProto[] {
  const seen = new Set<DescFile>([root]);
  for (const file of seen) {
    for (const dependency of file.dependencies) {
      if (!isReservedPackage(dependency.proto.package)) seen.add(dependency);
    }
  }
  seen.delete(root);
  return Array.from(seen, ({ proto }) => proto);
}
