import { type DescField, type DescMessage, fromBinary, toBinary } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { CollectorError } from "../../errors.ts";
import { isRegular } from "../derive/derive.ts";
import { mapKey } from "../derive/scalar-items.ts";
import { WireReader } from "../derive/wire-reader.ts";
import type { MaskedField, MaskNode } from "./update-mask.ts";
import {
  isUnknownEnum,
  membersOf,
  settleOneofs,
  splitFields,
  type WireField,
} from "./wire-fields.ts";

/**
 * The stored message with the masked fields taken from the item; a masked field that the item has
 * not set is cleared. Works on the wire bytes: fields outside the mask, and unknown ones, keep theirs.
 *
 * Both have been checked by `derive`, for the same type or a version of it that reads the same.
 *
 * @throws {CollectorError} ITEM_UNPARSABLE for bytes that only a whole replacement can mend.
 */
export function applyMask(
  desc: DescMessage,
  mask: MaskNode,
  stored: Uint8Array,
  item: Uint8Array,
): Uint8Array {
  return mergeMessage(desc, mask, regular(desc, stored), regular(desc, item));
}

/** Bytes that only protobuf-es reads as it does are first written as every parser reads them. */
function regular(desc: DescMessage, bytes: Uint8Array): Uint8Array {
  if (isRegular(desc, bytes)) return bytes;
  const rewritten = rewrite(desc, bytes);
  // A closed enum under a foreign wire type is kept as an unknown field, and written as it came.
  if (!isRegular(desc, rewritten)) throw unchangeable(desc);
  return rewritten;
}

function rewrite(desc: DescMessage, bytes: Uint8Array): Uint8Array {
  try {
    return toBinary(desc, fromBinary(desc, bytes));
  } catch (error) {
    // proto2: what lacks a required field can be read, but not written anew.
    throw unchangeable(desc, error);
  }
}

function unchangeable(desc: DescMessage, cause?: unknown): CollectorError {
  return new CollectorError(
    "ITEM_UNPARSABLE",
    `the message was not written as ${desc.typeName} should be and cannot be changed in parts; replace it whole`,
    { cause, subject: { type: desc.typeName } },
  );
}

function mergeMessage(
  desc: DescMessage,
  mask: MaskNode,
  stored: Uint8Array,
  item: Uint8Array,
): Uint8Array {
  const before = settleOneofs(desc, splitFields(stored));
  const after = settleOneofs(desc, splitFields(item));
  const merged: Uint8Array[] = [];
  for (const masked of mask.fields.values()) {
    merged.push(...mergeField(masked, ofField(before, masked.field), ofField(after, masked.field)));
  }
  const replaced = replacedNumbers(desc, mask, merged);
  const kept = before.filter((wireField) => !replaced(wireField)).map(({ bytes }) => bytes);
  return Buffer.concat([...kept, ...merged]);
}

/** The values of a field; what a closed enum does not name is none. */
function ofField(fields: readonly WireField[], field: DescField): WireField[] {
  return fields.filter(
    (wireField) => wireField.number === field.number && !isUnknownEnum(field, wireField),
  );
}

/** Which stored fields are gone: the masked ones, and members of oneofs that now have another. */
function replacedNumbers(
  desc: DescMessage,
  mask: MaskNode,
  merged: readonly Uint8Array[],
): (wireField: WireField) => boolean {
  const members = membersOf(desc);
  const setOneofs = new Set(
    merged.map((bytes) => members.get(new WireReader(bytes).tag() >>> 3)?.oneof),
  );
  return (wireField) => {
    const masked = mask.fields.get(wireField.number);
    if (masked !== undefined) return !isUnknownEnum(masked.field, wireField);
    const member = members.get(wireField.number);
    if (member?.oneof === undefined || !setOneofs.has(member.oneof)) return false;
    return !isUnknownEnum(member, wireField);
  };
}

function mergeField(
  masked: MaskedField,
  stored: readonly WireField[],
  item: readonly WireField[],
): Uint8Array[] {
  if (masked.whole) return item.map(({ bytes }) => bytes);
  const { field, inside } = masked;
  if (field.fieldKind === "map") return mergeEntries(field, masked, stored, item);
  if (field.fieldKind !== "message" || inside === undefined) return [];
  const content = mergeMessage(field.message, inside, contentOf(stored), contentOf(item));
  if (content.byteLength === 0 && stored.length === 0) return [];
  return [writeMessage(field, content)];
}

/** A message that stands in several parts is the parts one after the other. */
function contentOf(fields: readonly WireField[]): Uint8Array {
  const [only] = fields;
  if (fields.length === 1 && only !== undefined) return only.content;
  return Buffer.concat(fields.map(({ content }) => content));
}

function writeMessage(
  field: DescField & { fieldKind: "message" },
  content: Uint8Array,
): Uint8Array {
  const writer = new BinaryWriter();
  if (!field.delimitedEncoding) {
    return writer.tag(field.number, WireType.LengthDelimited).bytes(content).finish();
  }
  return writer
    .tag(field.number, WireType.StartGroup)
    .raw(content)
    .tag(field.number, WireType.EndGroup)
    .finish();
}

function mergeEntries(
  field: DescField & { fieldKind: "map" },
  { keys }: MaskedField,
  stored: readonly WireField[],
  item: readonly WireField[],
): Uint8Array[] {
  const entries: Uint8Array[] = [];
  const storedKeys = stored.map((entry) => entryKey(field, entry));
  const itemKeys = item.map((entry) => entryKey(field, entry));
  for (const [index, entry] of stored.entries()) {
    if (!keys.has(storedKeys[index] ?? "")) entries.push(entry.bytes);
  }
  for (const [key, inside] of keys) {
    // The last entry of a key is the one that counts.
    const before = stored[storedKeys.lastIndexOf(key)];
    const after = item[itemKeys.lastIndexOf(key)];
    if (inside === undefined || field.message === undefined) {
      if (after !== undefined) entries.push(after.bytes);
    } else if (before !== undefined || after !== undefined) {
      const content = mergeMessage(
        field.message,
        inside,
        entryContent(before),
        entryContent(after),
      );
      if (content.byteLength > 0 || before !== undefined) {
        entries.push(writeEntry(field, before ?? after, content));
      }
    }
  }
  return entries;
}

function entryKey(field: DescField & { fieldKind: "map" }, entry: WireField): string {
  const plan = mapKey(field.mapKey, field.utf8Validation);
  const last = splitFields(entry.content).findLast(({ number }) => number === 1);
  if (last === undefined) return plan.zero;
  const reader = new WireReader(last.bytes);
  reader.tag();
  return plan.read(reader);
}

function entryContent(entry: WireField | undefined): Uint8Array {
  if (entry === undefined) return new Uint8Array(0);
  return contentOf(splitFields(entry.content).filter(({ number }) => number === 2));
}

/** An entry with the key of `like` and another value. */
function writeEntry(
  field: DescField,
  like: WireField | undefined,
  content: Uint8Array,
): Uint8Array {
  const key = splitFields(like?.content ?? new Uint8Array(0)).findLast((part) => part.number === 1);
  const writer = new BinaryWriter().tag(field.number, WireType.LengthDelimited).fork();
  if (key !== undefined) writer.raw(key.bytes);
  return writer.tag(2, WireType.LengthDelimited).bytes(content).join().finish();
}
