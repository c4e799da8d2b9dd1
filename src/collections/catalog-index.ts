import { CollectorError } from "../errors.ts";
import type { Collection } from "../gen/collector/collection_pb.ts";
import type { MessageTypeRef } from "../gen/collector/common_pb.ts";
import type { Limits } from "../lib/limits.ts";
import { encodePageToken, type PageRequest, readPage } from "../lib/page-token.ts";
import { didYouMean } from "../lib/suggest.ts";
import { quote, refuseEmpty } from "../registry/names.ts";
import type { CatalogEntry } from "./catalog-entry.ts";
import { typeNameOf } from "./record-collection.ts";

export interface DiscoverQuery extends PageRequest {
  /** Empty: every namespace. */
  readonly namespace: string;
  readonly labelFilter: Readonly<Record<string, string>>;
  readonly messageTypeFilter?: MessageTypeRef | undefined;
}

/** The entries of the catalog by name: finding one costs two look-ups. */
export class CatalogIndex {
  readonly #namespaces = new Map<string, Map<string, CatalogEntry>>();
  /** By namespace and name; made when first listed after a change. */
  #ordered: readonly CatalogEntry[] | undefined;

  find(namespace: string, name: string): CatalogEntry | undefined {
    return this.#namespaces.get(namespace)?.get(name);
  }

  /**
   * @param field of the request that names the collection
   * @throws {CollectorError} ARGUMENT_MISSING; COLLECTION_NOT_FOUND with the nearest names
   */
  get(namespace: string, name: string, field = "collection_name"): CatalogEntry {
    const entry = this.find(namespace, name);
    if (entry !== undefined) return entry;
    refuseEmpty(name, field, "collection");
    const known = this.#namespaces.get(namespace)?.keys() ?? [];
    throw new CollectorError(
      "COLLECTION_NOT_FOUND",
      `there is no collection ${quote(name)} in namespace ${quote(namespace)}${didYouMean(name, known)}`,
      { subject: { namespace: namespace.slice(0, 128), collection: name.slice(0, 128) } },
    );
  }

  add(entry: CatalogEntry): void {
    const { namespace, name } = entry.definition;
    let names = this.#namespaces.get(namespace);
    if (names === undefined) {
      names = new Map();
      this.#namespaces.set(namespace, names);
    }
    names.set(name, entry);
    this.#ordered = undefined;
  }

  remove({ definition: { namespace, name } }: CatalogEntry): void {
    const names = this.#namespaces.get(namespace);
    names?.delete(name);
    if (names?.size === 0) this.#namespaces.delete(namespace);
    this.#ordered = undefined;
  }

  inNamespace(namespace: string): Iterable<CatalogEntry> {
    return this.#namespaces.get(namespace)?.values() ?? [];
  }

  hasNamespace(namespace: string): boolean {
    return this.#namespaces.has(namespace);
  }

  /** By namespace, then by name. */
  get all(): readonly CatalogEntry[] {
    this.#ordered ??= [...this.#namespaces.values()]
      .flatMap((names) => [...names.values()])
      .sort((one, other) => (sortKey(one.definition) < sortKey(other.definition) ? -1 : 1));
    return this.#ordered;
  }

  /** @throws {CollectorError} PAGE_SIZE_INVALID, PAGE_TOKEN_INVALID */
  discover(
    query: DiscoverQuery,
    limits: Pick<Limits, "pageSizeDefault" | "pageSizeMax">,
  ): { entries: CatalogEntry[]; nextPageToken: string } {
    const labels = Object.entries(query.labelFilter).sort(([one], [other]) =>
      one < other ? -1 : 1,
    );
    const type = query.messageTypeFilter;
    const typeName = type?.messageName.replace(/^\./, "") ?? "";
    const pageQuery = [
      "Discover",
      query.namespace,
      JSON.stringify(labels),
      type?.namespace ?? "",
      typeName,
    ];
    const { size, after } = readPage(query, pageQuery, limits);
    const entries: CatalogEntry[] = [];
    for (const entry of this.all) {
      const { definition } = entry;
      if (after !== undefined && sortKey(definition) <= after) continue;
      if (query.namespace !== "" && definition.namespace !== query.namespace) continue;
      if (type !== undefined && !isOfType(definition, type.namespace, typeName)) continue;
      const own = definition.metadata?.labels ?? {};
      if (labels.some(([key, value]) => !Object.hasOwn(own, key) || own[key] !== value)) continue;
      if (entries.length === size) {
        const last = entries[size - 1]?.definition;
        const cursor = last === undefined ? "" : sortKey(last);
        return { entries, nextPageToken: encodePageToken(pageQuery, cursor) };
      }
      entries.push(entry);
    }
    return { entries, nextPageToken: "" };
  }
}

/** Names hold no space, which sorts before all that they hold. */
function sortKey({ namespace, name }: Collection): string {
  return `${namespace} ${name}`;
}

/** @param typeName the full name, or its last parts. */
function isOfType(definition: Collection, namespace: string, typeName: string): boolean {
  if (namespace !== "" && namespace !== definition.namespace) return false;
  const own = typeNameOf(definition);
  return typeName === "" || own === typeName || own.endsWith(`.${typeName}`);
}
