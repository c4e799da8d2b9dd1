import type { Client } from "../client/client.ts";
import { ClientError } from "../client/client-error.ts";
import type { RegisteredProto } from "../gen/collector/registry_pb.ts";

export interface RemoveSchemaRequest {
  readonly client: Client;
  readonly name: string;
  readonly namespace: string;
  /** Finds out whether it would work, and removes nothing. */
  readonly dryRun: boolean;
  readonly signal: AbortSignal;
}

/**
 * Unregisters a file and the services it defines. If the file has to stay, so do its services.
 *
 * @returns the full names of the types that are gone
 * @throws {ClientError} FILE_NOT_FOUND, FILE_IN_USE, TYPE_IN_USE
 */
export async function removeSchema(request: RemoveSchemaRequest): Promise<readonly string[]> {
  const { client, name, namespace, dryRun, signal } = request;
  const { registry, types } = client.services;
  const { file } = await types.getFile({ namespace, name }, { signal });
  const services = servicesOf(file);
  if (dryRun) return await rehearse(request, file, services);
  const removed: string[] = [];
  for (const serviceName of services) {
    if (await unregisterService(request, serviceName)) removed.push(serviceName);
  }
  try {
    const { unregisteredTypes } = await types.unregisterFile({ namespace, name }, { signal });
    return unregisteredTypes;
  } catch (error) {
    for (const serviceName of removed) {
      await registry.registerService({ namespace, fileName: name, serviceName });
    }
    throw error;
  }
}

function servicesOf(file: RegisteredProto | undefined): readonly string[] {
  const { package: packageName = "", service = [] } = file?.fileDescriptor ?? {};
  return service.map(({ name }) => (packageName === "" ? name : `${packageName}.${name}`));
}

async function rehearse(
  { client, name, namespace, signal }: RemoveSchemaRequest,
  file: RegisteredProto | undefined,
  services: readonly string[],
): Promise<readonly string[]> {
  try {
    const request = { namespace, name, validateOnly: true };
    const { unregisteredTypes } = await client.services.types.unregisterFile(request, { signal });
    return unregisteredTypes;
  } catch (error) {
    // Its own services would go first.
    const isOwn =
      error instanceof ClientError &&
      error.reason === "TYPE_IN_USE" &&
      services.includes(error.subject["service"] ?? "");
    if (!isOwn) throw error;
    return [...(file?.messageNames ?? []), ...services];
  }
}

/** Returns false if the service is not registered, though its file is. */
async function unregisterService(
  { client, namespace, signal }: RemoveSchemaRequest,
  name: string,
): Promise<boolean> {
  try {
    await client.services.types.unregisterService({ namespace, name }, { signal });
    return true;
  } catch (error) {
    if (error instanceof ClientError && error.reason === "SERVICE_NOT_FOUND") return false;
    throw error;
  }
}
