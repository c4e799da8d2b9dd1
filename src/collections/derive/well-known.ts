import type { DescMessage } from "@bufbuild/protobuf";
import { durationForm, timestampForm } from "./forms.ts";
import { type ItemPlan, type Sink, type Slot, textOf } from "./slots.ts";

/** Writes the JSON of a message from its slots. */
export type MessageWriter = (slots: readonly Slot[], sink: Sink) => string;

/** The fields of a message, compiled: by name, its slot and how its values are written. */
export type FieldLookup = (name: string) => {
  readonly slot: number;
  readonly item: ItemPlan;
  /** The whole field: a list or a map with its brackets; undefined if there is nothing to write. */
  readonly write: (value: Slot, sink: Sink) => string | undefined;
};

/** The writer of a type whose form in a document is not an object of its fields. */
export function wellKnownWriter(desc: DescMessage, field: FieldLookup): MessageWriter | undefined {
  switch (desc.typeName) {
    case "google.protobuf.Timestamp":
      return timestampWriter(field);
    case "google.protobuf.Duration":
      return durationWriter(field);
    case "google.protobuf.Any":
      return anyWriter(field);
    case "google.protobuf.Struct":
      return wholeWriter(field, "fields", "{}");
    case "google.protobuf.ListValue":
      return wholeWriter(field, "values", "[]");
    case "google.protobuf.Value":
      return valueWriter(field);
    case "google.protobuf.DoubleValue":
    case "google.protobuf.FloatValue":
    case "google.protobuf.Int64Value":
    case "google.protobuf.UInt64Value":
    case "google.protobuf.Int32Value":
    case "google.protobuf.UInt32Value":
    case "google.protobuf.BoolValue":
    case "google.protobuf.StringValue":
    case "google.protobuf.BytesValue":
      return wrapperWriter(field);
    default:
      return undefined;
  }
}

function timestampWriter(field: FieldLookup): MessageWriter {
  const seconds = field("seconds").slot;
  const nanos = field("nanos").slot;
  return (slots) => {
    const form = timestampForm(integer(slots[seconds]), integer(slots[nanos]));
    return form === undefined ? "null" : `"${form}"`;
  };
}

function durationWriter(field: FieldLookup): MessageWriter {
  const seconds = field("seconds").slot;
  const nanos = field("nanos").slot;
  return (slots) => String(durationForm(BigInt(textOf(slots[seconds])), integer(slots[nanos])));
}

/** The value of an integer slot; exact up to 2^53. */
function integer(value: Slot): number {
  return typeof value === "string" ? Number(value) : 0;
}

function anyWriter(field: FieldLookup): MessageWriter {
  const typeUrl = field("type_url").slot;
  const value = field("value").slot;
  return (slots, sink) => {
    const bytes = slots[value];
    return sink.writeAny(
      textOf(slots[typeUrl]),
      bytes instanceof Uint8Array ? bytes : new Uint8Array(0),
    );
  };
}

function wholeWriter(field: FieldLookup, name: string, empty: string): MessageWriter {
  const { slot, write } = field(name);
  return (slots, sink) => write(slots[slot], sink) ?? empty;
}

function valueWriter(field: FieldLookup): MessageWriter {
  const kinds = ["number_value", "string_value", "bool_value", "struct_value", "list_value"].map(
    field,
  );
  return (slots, sink) => {
    for (const { slot, item } of kinds) {
      const value = slots[slot];
      if (value !== undefined) return item.write(value, sink);
    }
    return "null";
  };
}

function wrapperWriter(field: FieldLookup): MessageWriter {
  const { slot, item } = field("value");
  return (slots, sink) => item.write(slots[slot] ?? item.zero(), sink);
}
