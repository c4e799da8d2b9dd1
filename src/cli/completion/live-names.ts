import type { DescMessage } from "@bufbuild/protobuf";
import { asObject, type JsonObject, objectsOf, textOf, textsOf } from "../json-values.ts";
import type { QuickCaller } from "../quick-call.ts";
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

export interface LiveNamesOptions {
  readonly caller: QuickCaller;
  /** Empty: the server's default. */
  readonly namespace: string;
  /** The descriptor of a type, which takes more than a quick call. */
  readonly messageType: (name: string) => Promise<DescMessage | undefined>;
}

const namesMax = 500;
const fieldDepthMax = 3;

/** A method that lists things, the member of its answer that has them, and their member with the name. */
type Listing = readonly [method: string, items: string, name: string, request?: JsonObject];

const listings = {
  type: ["TypeRegistry/ListTypes", "types", "name", { kind: "MESSAGE" }],
  symbol: ["TypeRegistry/ListTypes", "types", "name"],
  service: ["CollectorRegistry/ListServices", "services", "serviceName"],
  backup: ["CollectionRepo/ListBackups", "backups", "backupId", { limit: namesMax }],
  set: ["CollectionRepo/ListBackups", "backups", "setId", { limit: namesMax }],
  policy: ["Backups/ListBackupPolicies", "policies", "name"],
  namespace: ["Namespaces/ListNamespaces", "namespaces", "name"],
  operation: ["Operations/ListOperations", "operations", "name"],
} as const satisfies Partial<Record<NameKind, Listing>>;

/** Methods that are about all namespaces, or take their page otherwise. */
const withoutNamespace: ReadonlySet<string> = new Set([
  "Backups/ListBackupPolicies",
  "Namespaces/ListNamespaces",
]);
const withoutPage: ReadonlySet<string> = new Set(["CollectionRepo/ListBackups"]);

/** The names of things on a server. */
export function liveNames({ caller, namespace, messageType }: LiveNamesOptions): Names {
  const items = async (
    method: string,
    member: string,
    more: JsonObject = {},
  ): Promise<readonly JsonObject[]> => {
    const answer = await caller.call(`/collector.${method}`, {
      ...(withoutNamespace.has(method) ? {} : { namespace }),
      ...(withoutPage.has(method) ? {} : { pageSize: namesMax }),
      ...more,
    });
    return objectsOf(asObject(answer)[member]);
  };
  const list = async (kind: keyof typeof listings): Promise<readonly string[]> => {
    const [method, member, name, more]: Listing = listings[kind];
    return (await items(method, member, more)).map((item) => textOf(item[name]));
  };
  const services = () => items("CollectorRegistry/ListServices", "services");
  const methods = async (): Promise<readonly string[]> =>
    (await services()).flatMap(({ serviceName, methodNames }) =>
      textsOf(methodNames).map((method) => `${textOf(serviceName)}/${method}`),
    );
  const collections = async (): Promise<readonly string[]> =>
    (await items("CollectionRepo/Discover", "collections"))
      .filter((collection) => collection["namespace"] !== "system" || namespace === "system")
      .map(({ name }) => textOf(name));
  const ofCollection = async (
    method: string,
    member: string,
    collectionName: string | undefined,
  ): Promise<readonly JsonObject[]> => {
    if (collectionName === undefined) return [];
    const answer = await caller.call(`/collector.${method}`, { namespace, collectionName });
    return objectsOf(asObject(answer)[member]);
  };
  const ask = async (kind: NameKind, about: AskedFor): Promise<readonly string[]> => {
    switch (kind) {
      case "collection":
        return await collections();
      case "method":
        return await methods();
      case "any":
        return [...(await collections()), ...(await list("symbol")), ...(await methods())];
      case "endpoint": {
        const found = (await services()).find(({ serviceName }) => serviceName === about.subject);
        return objectsOf(found?.["endpoints"]).map(({ address }) => textOf(address));
      }
      case "field": {
        if (about.type !== undefined) {
          const message = await messageType(about.type);
          return message === undefined ? [] : fieldPaths(message);
        }
        const method = "CollectionService/Describe";
        return (await ofCollection(method, "fields", about.subject)).map(({ path }) =>
          textOf(path),
        );
      }
      case "attachment": {
        const method = "FileService/ListAttachedFiles";
        const files = await ofCollection(method, "files", about.subject);
        return files.map(({ file }) => textOf(asObject(file)["name"]));
      }
      case "file":
        return (await items("TypeRegistry/ListFiles", "files"))
          .filter(({ builtIn }) => builtIn !== true)
          .map(({ fileDescriptor, id }) => textOf(asObject(fileDescriptor)["name"] ?? id));
      case "context":
        return [];
      default:
        return await list(kind);
    }
  };
  return { of: async (kind, about) => (await ask(kind, about)).filter((name) => name !== "") };
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
