import { type DescField, type DescMessage, type DescOneof } from "@bufbuild/protobuf";
import { messageDepthMax, WireReader, wireTypes } from "../derive/wire-reader.ts";

/** One field of a message as it stands in the wire bytes. */
export interface WireField {
  readonly number: number;
  /** The field with its tag. */
  readonly bytes: Uint8Array;
  /** What is between tag, length and end tag, of a field that has a length or is a group. */
  readonly content: Uint8Array;
}

const noBytes = new Uint8Array(0);

/** Cuts the bytes of a message into its fields, in their order. The bytes have to be regular. */
export function splitFields(bytes: Uint8Array): WireField[] {
  const reader = new WireReader(bytes);
  const fields: WireField[] = [];
  while (reader.pos < reader.len) {
    const start = reader.pos;
    const tag = reader.tag();
    const afterTag = reader.pos;
    reader.skip(tag, messageDepthMax);
    const end = reader.pos;
    fields.push({
      number: tag >>> 3,
      bytes: bytes.subarray(start, end),
      content: contentOf(bytes, tag, afterTag, end),
    });
  }
  return fields;
}

function contentOf(bytes: Uint8Array, tag: number, afterTag: number, end: number): Uint8Array {
  switch (tag & 7) {
    case wireTypes.lengthDelimited: {
      const reader = new WireReader(bytes.subarray(afterTag, end));
      const size = reader.uint32();
      return bytes.subarray(end - size, end);
    }
    case wireTypes.startGroup:
      return bytes.subarray(afterTag, startOfEndTag(bytes, afterTag, end));
    default:
      return noBytes;
  }
}

/** An end tag may be padded, so it is found by walking, not by its size. */
function startOfEndTag(bytes: Uint8Array, start: number, end: number): number {
  const reader = new WireReader(bytes.subarray(start, end));
  for (;;) {
    const before = reader.pos;
    const tag = reader.tag();
    if ((tag & 7) === wireTypes.endGroup) return start + before;
    reader.skip(tag, messageDepthMax);
  }
}

/**
 * Leaves out the members of a oneof that a later member has replaced, which a reader would pass
 * over: a member that comes back after another one starts from nothing.
 */
export function settleOneofs(desc: DescMessage, fields: readonly WireField[]): WireField[] {
  if (desc.oneofs.length === 0) return [...fields];
  const members = membersOf(desc);
  const settled: WireField[] = [];
  const winners = new Map<DescOneof, number>();
  const closed = new Set<DescOneof>();
  for (const wireField of fields.toReversed()) {
    const member = members.get(wireField.number);
    const oneof = member?.oneof;
    if (member !== undefined && oneof !== undefined && !isUnknownEnum(member, wireField)) {
      if (closed.has(oneof)) continue;
      const winner = winners.get(oneof);
      if (winner === undefined) winners.set(oneof, wireField.number);
      else if (winner !== wireField.number) {
        closed.add(oneof);
        continue;
      }
    }
    settled.push(wireField);
  }
  return settled.toReversed();
}

/** The members of a message's oneofs, by number. */
export function membersOf(
  desc: DescMessage,
): ReadonlyMap<number, DescField & { oneof: DescOneof | undefined }> {
  return new Map(
    desc.oneofs.flatMap((oneof) => oneof.fields.map((field) => [field.number, field] as const)),
  );
}

/** A closed enum's value without a name counts as an unknown field and sets no member. */
export function isUnknownEnum(field: DescField, { bytes }: WireField): boolean {
  if (field.fieldKind !== "enum" || field.enum.open) return false;
  const reader = new WireReader(bytes);
  reader.tag();
  const value = reader.uint32() | 0;
  return !field.enum.values.some(({ number }) => number === value);
}
