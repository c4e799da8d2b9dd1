import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { type Collection, CollectionSchema } from "../../gen/collector/collection_pb.ts";
import {
  CreateRequestSchema,
  ModifyRequestSchema,
} from "../../gen/collector/collection_server_pb.ts";
import type { ModifiedCollection } from "../alterations.ts";
import { type CatalogFixture, product } from "./fixture.ts";

export const noFilter: {
  labelFilter: Record<string, string>;
  pageSize: number;
  pageToken: string;
} = { labelFilter: {}, pageSize: 0, pageToken: "" };

export function define(
  fixture: CatalogFixture,
  init: MessageInitShape<typeof CollectionSchema>,
  validateOnly = false,
): Promise<Collection> {
  const type = { messageType: { messageName: "shop.v1.Product" } };
  const given = { namespace: "default", ...type, ...init } as typeof init;
  const collection = create(CollectionSchema, given);
  return fixture.catalog.create(collection, { validateOnly });
}

export function modify(
  fixture: CatalogFixture,
  init: MessageInitShape<typeof ModifyRequestSchema>,
): Promise<ModifiedCollection> {
  const request = create(ModifyRequestSchema, {
    namespace: "default",
    collectionName: "products",
    ...init,
  });
  return fixture.catalog.alterations.modify(request, {});
}

export function remove(fixture: CatalogFixture, name: string, more = {}): Promise<void> {
  return fixture.catalog.delete({
    collection: { $typeName: "collector.NamespacedName", namespace: "default", name },
    allowMissing: false,
    ifMatch: "",
    validateOnly: false,
    ...more,
  });
}

export function rename(
  fixture: CatalogFixture,
  name: string,
  newName: string,
  more = {},
): Promise<Collection> {
  return fixture.catalog.rename({
    collection: { $typeName: "collector.NamespacedName", namespace: "default", name },
    newName,
    ifMatch: "",
    validateOnly: false,
    ...more,
  });
}

export async function fill(fixture: CatalogFixture, count: number): Promise<void> {
  const records = fixture.catalog.open("default", "products");
  await Promise.all(
    Array.from({ length: count }, (_, index) =>
      records.create(
        create(CreateRequestSchema, { id: `r${index}`, item: product({ stock: index }) }),
      ),
    ),
  );
}
