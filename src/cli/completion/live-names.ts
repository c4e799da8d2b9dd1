import type { Client } from "../../client/client.ts";
import { RegisteredType_Kind } from "../../gen/collector/type_registry_pb.ts";

/** Kinds of things that a server can be asked the names of. */
export type NameKind =
  | "collection"
  | "type"
  | "method"
  | "file"
  | "field"
  | "namespace"
  | "backup"
  | "operation"
  | "any";

/** Names for completion: what cannot be found out in time is no candidate. */
export interface Names {
  /** @param collection whose fields are asked for */
  of(kind: NameKind, collection?: string): Promise<readonly string[]>;
}

/** A shell waits for the answer, so the server has to be quick. */
const askMs = 1000;
const namesMax = 500;

/** The names of things on a server. */
export function liveNames(client: Client): Names {
  const { services, namespace } = client;
  const limits = { timeoutMs: askMs };
  const pageSize = namesMax;

  const collections = async (): Promise<readonly string[]> => {
    const page = await services.repo.discover({ namespace, pageSize }, limits);
    return page.collections
      .filter((collection) => collection.namespace !== "system" || namespace === "system")
      .map(({ name }) => name);
  };
  const types = async (kind: RegisteredType_Kind): Promise<readonly string[]> => {
    const page = await services.types.listTypes({ namespace, kind, pageSize }, limits);
    return page.types.map(({ name }) => name);
  };
  const methods = async (): Promise<readonly string[]> => {
    const page = await services.registry.listServices({ namespace, pageSize }, limits);
    return page.services.flatMap(({ serviceName, methodNames }) =>
      methodNames.map((method) => `${serviceName}/${method}`),
    );
  };
  const fields = async (collectionName: string | undefined): Promise<readonly string[]> => {
    if (collectionName === undefined) return [];
    const described = await services.records.describe({ namespace, collectionName }, limits);
    return described.fields.map(({ path }) => path);
  };
  const ask = async (kind: NameKind, collection?: string): Promise<readonly string[]> => {
    switch (kind) {
      case "collection":
        return await collections();
      case "type":
        return await types(RegisteredType_Kind.MESSAGE);
      case "method":
        return await methods();
      case "field":
        return await fields(collection);
      case "any":
        return [
          ...(await collections()),
          ...(await types(RegisteredType_Kind.KIND_UNSPECIFIED)),
          ...(await methods()),
        ];
      case "file": {
        const page = await services.types.listFiles({ namespace, pageSize }, limits);
        return page.files.flatMap(({ builtIn, id, fileDescriptor }) =>
          builtIn ? [] : [fileDescriptor?.name ?? id],
        );
      }
      case "namespace": {
        const page = await services.namespaces.listNamespaces({ pageSize }, limits);
        return page.namespaces.map(({ name }) => name);
      }
      case "backup": {
        const { backups } = await services.repo.listBackups({ namespace, limit: pageSize }, limits);
        return backups.map(({ backupId }) => backupId);
      }
      case "operation": {
        const page = await services.operations.listOperations({ namespace, pageSize }, limits);
        return page.operations.map(({ name }) => name);
      }
    }
  };
  return { of: ask };
}
