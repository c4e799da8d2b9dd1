import { create } from "@bufbuild/protobuf";
import type { CollectionCatalog } from "../../collections/catalog.ts";
import { invalidField } from "../../errors.ts";
import type { DescribeCopyResponse } from "../../gen/collector/backups_pb.ts";
import { type CopyState, CopyStateSchema } from "../../gen/collector/collection_repo_pb.ts";
import type { NamespacedName } from "../../gen/collector/common_pb.ts";
import { unusableBase } from "../archive-failures.ts";

/** Contents that a copy tells of; what it has beyond them is sent again. */
export const contentsMax = 50_000;

/**
 * What a copy holds of its source, for whoever brings it up to date.
 *
 * @throws {CollectorError} ARGUMENT_MISSING, and the storage's failures
 */
export async function describeCopy(
  catalog: Pick<CollectionCatalog, "find" | "store">,
  collection: Pick<NamespacedName, "namespace" | "name"> | undefined,
): Promise<Omit<DescribeCopyResponse, "$typeName">> {
  if (collection === undefined || collection.name === "") {
    throw invalidField("ARGUMENT_MISSING", "collection", "names no collection");
  }
  const { namespace, name } = collection;
  const definition = catalog.find(namespace, name);
  if (definition === undefined) return { exists: false, sourceCollectionId: "" };
  const { origin } = definition;
  const unlike = { exists: true, sourceCollectionId: "" };
  if (origin === undefined || origin.incarnation === "") return unlike;
  const store = catalog.store(namespace, name);
  const { incarnation, revision } = origin;
  // A copy keeps its source's revisions, and every write is one more.
  if ((await store.stats()).revision !== revision) return unlike;
  const state = { incarnation, revision, contentSha256: await contentsOf(store, revision) };
  return {
    exists: true,
    sourceCollectionId: origin.collectionId,
    state: create(CopyStateSchema, state),
  };
}

/**
 * Refuses changes that are not based on what a copy holds, before they are sent in vain. That nobody writes
 * to it meanwhile is seen when they are applied.
 *
 * @throws {CollectorError} BASE_UNUSABLE
 */
export async function checkCopy(
  catalog: Pick<CollectionCatalog, "find" | "store">,
  { namespace, name }: Pick<NamespacedName, "namespace" | "name">,
  base: { readonly incarnation: string; readonly revision: bigint },
): Promise<void> {
  const origin = catalog.find(namespace, name)?.origin;
  if (origin?.incarnation !== base.incarnation || origin.revision !== base.revision) {
    throw unusableBase("the collection of that name is no copy of that moment");
  }
  if ((await catalog.store(namespace, name).stats()).revision === base.revision) return;
  throw unusableBase("the copy was written to since it was made");
}

async function contentsOf(
  store: ReturnType<CollectionCatalog["store"]>,
  revision: bigint,
): Promise<CopyState["contentSha256"]> {
  if ((await store.files.stats()).count === 0n) return [];
  await using now = await store.changesSince(revision, { files: true });
  const { list } = now.contents;
  return Iterator.from(list)
    .take(contentsMax)
    .map(({ sha256 }) => new Uint8Array(Buffer.from(sha256, "hex")))
    .toArray();
}
