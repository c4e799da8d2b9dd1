import type { DescMessage } from "@bufbuild/protobuf";
import type { Client } from "../../client/client.ts";
import { RegisteredType_Kind } from "../../gen/collector/type_registry_pb.ts";
import type { NameKind } from "./kinds.ts";

/** What the names are looked for in, as far as the line says. */
export interface AskedFor {
  /** The first argument: a collection, or a service. */
  readonly subject?: string | undefined;
  /** The type of a collection that is about to be made. */
  readonly type?: string | undefined;
}

/** Names for completion: what cannot be found out in time is no candidate. */
export interface Names {
  of(kind: NameKind, about: AskedFor): Promise<readonly string[]>;
}

/** A shell waits for the answer, so the server has to be quick. */
const askMs = 1000;
const namesMax = 500;

const fieldDepthMax = 3;

/** The names of things on a server. */
export function liveNames(client: Client): Names {
  const { namespace } = client;
  const { records, repo, types: registered, backups, namespaces, operations } = client.services;
  const limits = { timeoutMs: askMs };
  const pageSize = namesMax;

  const collections = async (): Promise<readonly string[]> => {
    const page = await repo.discover({ namespace, pageSize }, limits);
    return page.collections
      .filter((collection) => collection.namespace !== "system" || namespace === "system")
      .map(({ name }) => name);
  };
  const types = async (kind: RegisteredType_Kind): Promise<readonly string[]> => {
    const page = await registered.listTypes({ namespace, kind, pageSize }, limits);
    return page.types.map(({ name }) => name);
  };
  const services = async () => {
    const page = await client.services.registry.listServices({ namespace, pageSize }, limits);
    return page.services;
  };
  const methods = async (): Promise<readonly string[]> =>
    (await services()).flatMap(({ serviceName, methodNames }) =>
      methodNames.map((method) => `${serviceName}/${method}`),
    );
  const fields = async ({ subject, type }: AskedFor): Promise<readonly string[]> => {
    if (type !== undefined) return fieldPaths(await client.messageType(type));
    if (subject === undefined) return [];
    const request = { namespace, collectionName: subject };
    return (await records.describe(request, limits)).fields.map(({ path }) => path);
  };
  const attachments = async (collection: string | undefined): Promise<readonly string[]> => {
    if (collection === undefined) return [];
    const request = { namespace, collectionName: collection, pageSize };
    const page = await client.services.files.listAttachedFiles(request, limits);
    return page.files.map(({ file }) => file?.name ?? "");
  };
  const ask = async (kind: NameKind, about: AskedFor): Promise<readonly string[]> => {
    switch (kind) {
      case "collection":
        return await collections();
      case "type":
        return await types(RegisteredType_Kind.MESSAGE);
      case "symbol":
        return await types(RegisteredType_Kind.KIND_UNSPECIFIED);
      case "method":
        return await methods();
      case "service":
        return (await services()).map(({ serviceName }) => serviceName);
      case "endpoint": {
        const found = (await services()).find(({ serviceName }) => serviceName === about.subject);
        return found?.endpoints.map(({ address }) => address) ?? [];
      }
      case "field":
        return await fields(about);
      case "attachment":
        return await attachments(about.subject);
      case "any":
        return [
          ...(await collections()),
          ...(await types(RegisteredType_Kind.KIND_UNSPECIFIED)),
          ...(await methods()),
        ];
      case "file": {
        const page = await registered.listFiles({ namespace, pageSize }, limits);
        return page.files.flatMap(({ builtIn, id, fileDescriptor }) =>
          builtIn ? [] : [fileDescriptor?.name ?? id],
        );
      }
      case "namespace": {
        const page = await namespaces.listNamespaces({ pageSize }, limits);
        return page.namespaces.map(({ name }) => name);
      }
      case "backup": {
        const { backups: found } = await repo.listBackups({ namespace, limit: pageSize }, limits);
        return found.map(({ backupId }) => backupId);
      }
      case "set": {
        const { backups: found } = await repo.listBackups({ namespace, limit: pageSize }, limits);
        return found.map(({ setId }) => setId).filter((setId) => setId !== "");
      }
      case "policy": {
        const page = await backups.listBackupPolicies({ pageSize }, limits);
        return page.policies.map(({ name }) => name);
      }
      case "context":
        return [];
      case "operation": {
        const page = await operations.listOperations({ namespace, pageSize }, limits);
        return page.operations.map(({ name }) => name);
      }
    }
  };
  return { of: ask };
}

/** Paths of the fields that can be indexed or searched, a few levels deep. */
function fieldPaths(message: DescMessage, depth = 0): readonly string[] {
  return message.fields.flatMap((field) => {
    const inner = field.message;
    if (inner === undefined || field.fieldKind === "map") return [field.name];
    if (inner.typeName.startsWith("google.protobuf.")) return [field.name];
    if (depth === fieldDepthMax) return [];
    return fieldPaths(inner, depth + 1).map((path) => `${field.name}.${path}`);
  });
}
