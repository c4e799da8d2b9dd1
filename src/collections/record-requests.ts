import { hash } from "node:crypto";
import type { DescMessage } from "@bufbuild/protobuf";
import { CollectorError, invalidField } from "../errors.ts";
import type {
  CreateRequest,
  DeleteRequest,
  UpdateRequest,
} from "../gen/collector/collection_server_pb.ts";
import type { Clock } from "../lib/clock.ts";
import type { Limits } from "../lib/limits.ts";
import type { TypeSnapshot } from "../registry/type-snapshot.ts";
import type { RecordContent, Write, WriteStep } from "../storage/record-store.ts";
import type { StoredRecord } from "../storage/stored-record.ts";
import type { DeriveGiven, DerivePlan } from "./derive/derive-plan.ts";
import { itemBytes } from "./items.ts";
import { applyMask } from "./masks/apply-mask.ts";
import { compileMask, type MaskNode } from "./masks/update-mask.ts";
import { checkLabels, checkRecordId, checkRequestId, newRecordId } from "./names.ts";
import { readVectors, vectorParts } from "./side-vectors.ts";

export type CreateRecord = Pick<
  CreateRequest,
  "id" | "item" | "labels" | "requestId" | "validateOnly" | "vectors"
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
  | "vectors"
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

/** How records are written now: their type, and what is derived from them. */
export interface WriteTarget {
  readonly type: CollectionType;
  readonly plan: DerivePlan;
}

/** A checked write of one record that needs nothing but its step. */
export interface PlainWrite {
  readonly kind: "plain";
  readonly id: string;
  readonly step: WriteStep;
  /** What its content was derived for; undefined if it has none. */
  readonly target: WriteTarget | undefined;
}

/** A checked update whose outcome depends on the record as it is then. */
export interface MaskedWrite {
  readonly kind: "masked";
  readonly id: string;
  /** What to change in the message; undefined if the message stays. */
  readonly change: { readonly item: Uint8Array; readonly mask: MaskNode } | undefined;
  /** Vectors beside the message that change. */
  readonly vectors: ReadonlyMap<string, Float32Array | undefined> | undefined;
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
  readonly #clock: Clock;

  constructor(limits: Limits, clock: Clock) {
    this.#limits = limits;
    this.#clock = clock;
  }

  create(request: CreateRecord, target: WriteTarget, prefix = ""): PlainWrite {
    if (request.id !== "") checkRecordId(request.id, this.#limits, `${prefix}id`);
    const data = this.#item(request.item, target, `${prefix}item`);
    checkLabels(request.labels, this.#limits, `${prefix}labels`);
    const vectors = readVectors(request.vectors, target.plan, `${prefix}vectors`);
    const content = this.content(data, target, { vectors }, `${prefix}item.value`);
    const id = request.id === "" ? newRecordId() : request.id;
    const step = { kind: "create", id, content, labels: request.labels } as const;
    return { kind: "plain", id, step, target };
  }

  update(request: UpdateRecord, target: WriteTarget, prefix = ""): RecordWrite {
    const { id, allowMissing, item, updateMask } = request;
    checkRecordId(id, this.#limits, `${prefix}id`);
    const ifVersion = readIfMatch(request.ifMatch, `${prefix}if_match`);
    const changesLabels = request.updateLabels || Object.keys(request.labels).length > 0;
    if (changesLabels) checkLabels(request.labels, this.#limits, `${prefix}labels`);
    const labels = changesLabels ? request.labels : undefined;
    const vectors = readVectors(request.vectors, target.plan, `${prefix}vectors`);
    const masked = { kind: "masked", id, vectors, labels, ifVersion } as const;
    if (item === undefined && (changesLabels || vectors !== undefined) && updateMask.length === 0) {
      if (vectors !== undefined || target.plan.hasTimeToLive) {
        return { ...masked, change: undefined, allowMissing: false };
      }
      const step = { kind: "update", id, content: undefined, labels, ifVersion } as const;
      return { kind: "plain", id, step, target };
    }
    const data = this.#item(item, target, `${prefix}item`);
    const mask = compileMask(target.type.desc, updateMask, `${prefix}update_mask`);
    const given = { vectors, keepsVectors: true };
    const content = this.content(data, target, given, `${prefix}item.value`);
    if (mask !== undefined) return { ...masked, change: { item: data, mask }, allowMissing };
    const step = { kind: "update", id, content, labels, ifVersion, allowMissing } as const;
    return { kind: "plain", id, step, target };
  }

  delete(request: DeleteRecord, prefix = ""): PlainWrite {
    const { id, allowMissing } = request;
    checkRecordId(id, this.#limits, `${prefix}id`);
    const ifVersion = readIfMatch(request.ifMatch, `${prefix}if_match`);
    const step = { kind: "delete", id, ifVersion, allowMissing } as const;
    return { kind: "plain", id, step, target: undefined };
  }

  /** The bytes with all that is derived from them. @throws {CollectorError} ITEM_UNPARSABLE */
  content(
    data: Uint8Array,
    { plan }: WriteTarget,
    given: Omit<DeriveGiven, "writtenUs">,
    field = "item.value",
  ): RecordContent {
    return plan.derive(data, { ...given, writtenUs: this.#clock.nowUs() }, field);
  }

  /** What a record that stays as it is derives to now. @throws {CollectorError} ITEM_UNPARSABLE */
  derivedAnew({ data, updatedUs }: StoredRecord, { plan }: WriteTarget): RecordContent {
    return plan.derive(data, { writtenUs: updatedUs, keepsVectors: true, isLenient: true });
  }

  /** What a masked update makes of the stored bytes. @throws {CollectorError} MESSAGE_TOO_LARGE */
  merge(write: MaskedWrite, stored: Uint8Array, target: WriteTarget): RecordContent {
    const { change, vectors } = write;
    const { desc } = target.type;
    const data = change === undefined ? stored : applyMask(desc, change.mask, stored, change.item);
    if (data.byteLength > this.#limits.messageBytesMax) {
      throw new CollectorError(
        "MESSAGE_TOO_LARGE",
        `the updated message would have ${data.byteLength} bytes, the limit is ${this.#limits.messageBytesMax}`,
        { subject: { id: write.id } },
      );
    }
    // The item was checked by itself; what the record holds beside it may be older than the definition.
    return this.content(data, target, { vectors, keepsVectors: true, isLenient: true });
  }

  /** What a masked update makes where no record is; undefined if it can make none. */
  whole({ change, vectors }: MaskedWrite, target: WriteTarget): RecordContent | undefined {
    return change === undefined ? undefined : this.content(change.item, target, { vectors });
  }

  #item(item: CreateRecord["item"], { type }: WriteTarget, field: string): Uint8Array {
    return itemBytes(item, type.desc.typeName, type.snapshot, field);
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
  const { id, item, labels, vectors } = request;
  return ["create", id, ...itemParts(item), sorted(labels), vectorParts(vectors)];
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
    vectorParts(request.vectors),
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
