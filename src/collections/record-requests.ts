import { hash } from "node:crypto";
import type { DescMessage } from "@bufbuild/protobuf";
import { CollectorError, invalidField } from "../errors.ts";
import type {
  CreateRequest,
  DeleteRequest,
  UpdateRequest,
} from "../gen/collector/collection_server_pb.ts";
import type { Limits } from "../lib/limits.ts";
import type { TypeSnapshot } from "../registry/type-snapshot.ts";
import type { RecordContent, Write, WriteStep } from "../storage/record-store.ts";
import { derive } from "./derive/derive.ts";
import { itemBytes } from "./items.ts";
import { applyMask } from "./masks/apply-mask.ts";
import { compileMask, type MaskNode } from "./masks/update-mask.ts";
import { checkLabels, checkRecordId, checkRequestId, newRecordId } from "./names.ts";

export type CreateRecord = Pick<
  CreateRequest,
  "id" | "item" | "labels" | "requestId" | "validateOnly"
>;
export type UpdateRecord = Pick<
  UpdateRequest,
  | "id"
  | "item"
  | "updateMask"
  | "labels"
  | "updateLabels"
  | "requestId"
  | "validateOnly"
  | "ifMatch"
  | "allowMissing"
>;
export type DeleteRecord = Pick<
  DeleteRequest,
  "id" | "requestId" | "validateOnly" | "ifMatch" | "allowMissing"
>;

/** The type of a collection as it is registered now. */
export interface CollectionType {
  readonly desc: DescMessage;
  readonly snapshot: TypeSnapshot;
}

/** A checked write of one record that needs nothing but its step. */
export interface PlainWrite {
  readonly kind: "plain";
  readonly id: string;
  readonly step: WriteStep;
}

/** A checked update by a mask: what it writes depends on the record as it is then. */
export interface MaskedWrite {
  readonly kind: "masked";
  readonly id: string;
  readonly item: Uint8Array;
  readonly mask: MaskNode;
  readonly labels: Readonly<Record<string, string>> | undefined;
  readonly ifVersion: bigint | undefined;
  readonly allowMissing: boolean;
}

export type RecordWrite = PlainWrite | MaskedWrite;

/**
 * Checks requests to write records of one collection and turns them into writes. `prefix` is where
 * the request stands in the caller's, as in `operations[3].create.`, for the fields of errors.
 */
export class RecordRequests {
  readonly #limits: Limits;

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  create(request: CreateRecord, type: CollectionType, prefix = ""): PlainWrite {
    if (request.id !== "") checkRecordId(request.id, this.#limits, `${prefix}id`);
    const data = this.#item(request.item, type, `${prefix}item`);
    checkLabels(request.labels, this.#limits, `${prefix}labels`);
    const content = this.content(data, type, `${prefix}item.value`);
    const id = request.id === "" ? newRecordId() : request.id;
    return { kind: "plain", id, step: { kind: "create", id, content, labels: request.labels } };
  }

  update(request: UpdateRecord, type: CollectionType, prefix = ""): RecordWrite {
    const { id, allowMissing, item, updateMask } = request;
    checkRecordId(id, this.#limits, `${prefix}id`);
    const ifVersion = readIfMatch(request.ifMatch, `${prefix}if_match`);
    const changesLabels = request.updateLabels || Object.keys(request.labels).length > 0;
    if (changesLabels) checkLabels(request.labels, this.#limits, `${prefix}labels`);
    const labels = changesLabels ? request.labels : undefined;
    if (item === undefined && changesLabels && updateMask.length === 0) {
      const step = { kind: "update", id, content: undefined, labels, ifVersion } as const;
      return { kind: "plain", id, step };
    }
    const data = this.#item(item, type, `${prefix}item`);
    const mask = compileMask(type.desc, updateMask, `${prefix}update_mask`);
    const content = this.content(data, type, `${prefix}item.value`);
    if (mask !== undefined) {
      return { kind: "masked", id, item: data, mask, labels, ifVersion, allowMissing };
    }
    const step = { kind: "update", id, content, labels, ifVersion, allowMissing } as const;
    return { kind: "plain", id, step };
  }

  delete(request: DeleteRecord, prefix = ""): PlainWrite {
    const { id, allowMissing } = request;
    checkRecordId(id, this.#limits, `${prefix}id`);
    const ifVersion = readIfMatch(request.ifMatch, `${prefix}if_match`);
    return { kind: "plain", id, step: { kind: "delete", id, ifVersion, allowMissing } };
  }

  /** The bytes with all that is derived from them. @throws {CollectorError} ITEM_UNPARSABLE */
  content(data: Uint8Array, type: CollectionType, field: string): RecordContent {
    const { document, texts } = derive(type.desc, data, type.snapshot.types, this.#limits, field);
    return { data, document, texts };
  }

  /** What a masked update makes of the stored bytes. @throws {CollectorError} MESSAGE_TOO_LARGE */
  merge(write: MaskedWrite, stored: Uint8Array, type: CollectionType): RecordContent {
    const data = applyMask(type.desc, write.mask, stored, write.item);
    if (data.byteLength > this.#limits.messageBytesMax) {
      throw new CollectorError(
        "MESSAGE_TOO_LARGE",
        `the updated message would have ${data.byteLength} bytes, the limit is ${this.#limits.messageBytesMax}`,
        { subject: { id: write.id } },
      );
    }
    return this.content(data, type, "item.value");
  }

  #item(item: CreateRecord["item"], { desc, snapshot }: CollectionType, field: string): Uint8Array {
    return itemBytes(item, desc.typeName, snapshot, field);
  }
}

/** @throws {CollectorError} ARGUMENT_INVALID for what is no version */
function readIfMatch(ifMatch: string, field: string): bigint | undefined {
  if (ifMatch === "") return undefined;
  if (/^[1-9]\d{0,17}$/.test(ifMatch)) return BigInt(ifMatch);
  throw invalidField("ARGUMENT_INVALID", field, "is no version; send one from RecordMeta.version");
}

/**
 * What makes a repeated write happen once, or undefined if the caller asked for nothing. The
 * fingerprint covers all that the caller sent; ids that the server makes are not part of it.
 */
export function writeRequest(requestId: string, parts: () => readonly unknown[]): Write["request"] {
  if (requestId === "") return undefined;
  checkRequestId(requestId);
  return { id: requestId, fingerprint: hash("sha256", JSON.stringify(parts()), "base64url") };
}

export function createParts(request: CreateRecord): unknown[] {
  return ["create", request.id, ...itemParts(request.item), sorted(request.labels)];
}

export function updateParts(request: UpdateRecord): unknown[] {
  const { id, item, updateMask, labels, updateLabels, ifMatch, allowMissing } = request;
  return [
    "update",
    id,
    ...itemParts(item),
    updateMask,
    sorted(labels),
    updateLabels,
    ifMatch,
    allowMissing,
  ];
}

export function deleteParts(request: DeleteRecord): unknown[] {
  return ["delete", request.id, request.ifMatch, request.allowMissing];
}

function itemParts(item: CreateRecord["item"]): unknown[] {
  if (item === undefined) return [];
  const name = item.typeUrl.slice(item.typeUrl.lastIndexOf("/") + 1);
  return [name, hash("sha256", item.value, "base64url")];
}

/** Maps come in any order, also from the same caller. */
function sorted(labels: Readonly<Record<string, string>>): [string, string][] {
  return Object.entries(labels).sort(([one], [other]) => (one < other ? -1 : 1));
}
