import {
  type DescField,
  type DescMethod,
  fromBinary,
  isFieldSet,
  toBinary,
} from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { type Any, AnySchema } from "@bufbuild/protobuf/wkt";
import { CollectorError, invalidField } from "../errors.ts";
import type { MetadataEntries } from "./channel.ts";
import { readInput } from "./dispatch/typed-method.ts";

/** The id of the record that a method is run over, with all but `A-Z a-z 0-9 - _ . ! ~ * ' ( )` as `%XX`. */
export const itemIdHeader = "x-collector-item-id";
/** The record, where the request is something else and has no field for it. */
export const itemHeader = "x-collector-item-bin";
/** The input of Invoke, where the request is the record. */
export const inputHeader = "x-collector-input-bin";

/** Largest message that goes along as metadata, in bytes: header lists end at 16 KiB. */
export const metadataItemBytesMax = 8192;

/** A request for one record. */
export interface ItemRequest {
  readonly input: Uint8Array;
  readonly context: MetadataEntries;
}

/**
 * Makes the request for a record out of the input of Invoke:
 *
 * - a method that takes the records' type is given the record;
 * - one whose request has one field of that type, or else one of type Any, is given the input with the
 *   record in that field;
 * - any other is given the input.
 *
 * What is not in the request goes along as metadata.
 */
export type MakeItemRequest = (id: string, item: Any) => ItemRequest;

/**
 * @param itemType full name of the records' type
 * @throws {CollectorError} ARGUMENT_INVALID about `input`
 */
export function itemRequests(
  desc: DescMethod,
  itemType: string,
  input: Any | undefined,
): MakeItemRequest {
  if (desc.input.typeName === itemType) {
    const along = input === undefined ? [] : [aside(inputHeader, input.value, "input")];
    return (id, item) => ({ input: item.value, context: [idEntry(id), ...along] });
  }
  const base = readInput(input, desc.input);
  const field = fieldFor(desc, itemType);
  if (field === undefined) {
    return (id, item) => ({
      input: base,
      context: [idEntry(id), aside(itemHeader, item.value, "the record")],
    });
  }
  if (isFieldSet(fromBinary(desc.input, base), field)) {
    const problem = "is for the record; leave it empty";
    throw invalidField("ARGUMENT_INVALID", `input.value.${field.name}`, problem);
  }
  return (id, item) => ({ input: withField(base, field, item), context: [idEntry(id)] });
}

/** The one field of the request that can hold the record. */
function fieldFor({ input }: DescMethod, itemType: string): DescField | undefined {
  for (const typeName of [itemType, AnySchema.typeName]) {
    const fields = input.fields.filter(
      (field) =>
        field.fieldKind === "message" &&
        field.message.typeName === typeName &&
        !field.delimitedEncoding,
    );
    if (fields.length === 1) return fields[0];
  }
  return undefined;
}

/** Adds a field to an encoded message. */
function withField(base: Uint8Array, { number, message }: DescField, item: Any): Uint8Array {
  const isAny = message?.typeName === AnySchema.typeName;
  const writer = new BinaryWriter();
  writer.raw(base);
  writer.tag(number, WireType.LengthDelimited);
  writer.bytes(isAny ? toBinary(AnySchema, item) : item.value);
  return writer.finish();
}

function idEntry(id: string): readonly [string, string] {
  return [itemIdHeader, encodeURIComponent(id)];
}

function aside(name: string, bytes: Uint8Array, what: string): readonly [string, string] {
  if (bytes.byteLength > metadataItemBytesMax) {
    throw new CollectorError(
      "MESSAGE_TOO_LARGE",
      `${what} has ${bytes.byteLength} bytes, and at most ${metadataItemBytesMax} go along as metadata; give the method's request a field for it`,
      { subject: { limit: "metadataItemBytesMax", limitBytes: String(metadataItemBytesMax) } },
    );
  }
  return [name, Buffer.from(bytes).toString("base64")];
}
