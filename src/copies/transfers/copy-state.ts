import { create } from "@bufbuild/protobuf";
import type { CollectionCatalog } from "../../collections/catalog.ts";
import { invalidField } from "../../errors.ts";
import type { DescribeCopyResponse } from "../../gen/collector/backups_pb.ts";
import { type CopyState, CopyStateSchema } from "../../gen/collector/collection_repo_pb.ts";
import type { NamespacedName } from "../../gen/collector/common_pb.ts";

/** Contents that a copy tells of; what it has beyond them is sent again. */
const contentsMax = 50_000;

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

async function contentsOf(
  store: ReturnType<CollectionCatalog["store"]>,
  revision: bigint,
): Promise<CopyState["contentSha256"]> {
  if ((await store.files.stats()).count === 0n) return [];
  await using now = await store.changesSince(revision, { files: true });
  return now.contents
    .slice(0, contentsMax)
    .map(({ sha256 }) => new Uint8Array(Buffer.from(sha256, "hex")));
}
