import type { MessageInitShape } from "@bufbuild/protobuf";
import type { RequestOpSchema } from "../gen/collector/collection_server_pb.ts";
import type { ItemCodec } from "./item-codec.ts";

interface Labelled {
  readonly labels?: Readonly<Record<string, string>>;
}

interface Conditional {
  /** Fails the batch with VERSION_MISMATCH unless this is still the record's version. */
  readonly ifVersion?: string;
}

/** One write of a batch: a new record, a record as it is to be, fields of one, or the end of one. */
export type BatchWrite<Init> =
  | ({ readonly create: Init; readonly id?: string } & Labelled)
  | ({ readonly put: Init; readonly id: string } & Labelled & Conditional)
  | ({ readonly patch: Init; readonly id: string } & Conditional)
  | ({ readonly delete: string; readonly allowMissing?: boolean } & Conditional);

/** The id that a write names; empty if the server makes one. */
export function idOf<Init>(write: BatchWrite<Init> | undefined): string {
  if (write === undefined) return "";
  return "delete" in write ? write.delete : (write.id ?? "");
}

/** A write as the server takes it. @throws {ClientError} FIELD_UNKNOWN, JSON_INVALID */
export async function operationOf<Item, Init>(
  write: BatchWrite<Init>,
  items: ItemCodec<Item, Init>,
): Promise<MessageInitShape<typeof RequestOpSchema>> {
  if ("create" in write) {
    const { create, id = "", labels = {} } = write;
    const value = { item: await items.pack(create), id, labels: { ...labels } };
    return { operation: { case: "create", value } };
  }
  const ifMatch = write.ifVersion ?? "";
  if ("delete" in write) {
    const { delete: id, allowMissing = false } = write;
    return { operation: { case: "delete", value: { id, allowMissing, ifMatch } } };
  }
  if ("patch" in write) {
    const { patch, id } = write;
    const item = await items.pack(patch);
    const value = { id, item, updateMask: await items.maskOf(patch), ifMatch };
    return { operation: { case: "update", value } };
  }
  const { put, id, labels = {} } = write;
  const value = {
    id,
    item: await items.pack(put),
    labels: { ...labels },
    allowMissing: write.ifVersion === undefined,
    ifMatch,
  };
  return { operation: { case: "update", value } };
}
