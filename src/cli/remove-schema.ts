import type { Client } from "../client/client.ts";
import { ClientError } from "../client/client-error.ts";

export interface RemoveSchemaRequest {
  readonly client: Client;
  readonly name: string;
  readonly namespace: string;
  readonly signal: AbortSignal;
}

/**
 * Unregisters a file and the services it defines. If the file has to stay, so do its services.
 *
 * @returns the full names of the types that are gone
 * @throws {ClientError} FILE_NOT_FOUND, FILE_IN_USE, TYPE_IN_USE
 */
export async function removeSchema(request: RemoveSchemaRequest): Promise<string[]> {
  const { client, name, namespace, signal } = request;
  const { registry, types } = client.services;
  const { file } = await types.getFile({ namespace, name }, { signal });
  const proto = file?.fileDescriptor;
  const removed: string[] = [];
  for (const service of proto?.service ?? []) {
    const packageName = proto?.package ?? "";
    const serviceName = packageName === "" ? service.name : `${packageName}.${service.name}`;
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
