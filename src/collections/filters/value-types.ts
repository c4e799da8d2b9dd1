import { type DescEnum, type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { FeatureSet_FieldPresence, isWrapperDesc } from "@bufbuild/protobuf/wkt";

/** What the values of a field are, as a filter sees them. */
export type ValueType =
  | {
      readonly kind: "integer";
      readonly name: string;
      readonly min: bigint;
      readonly max: bigint;
      /** Documents hold it less 2^63. */
      readonly isUint64: boolean;
    }
  | { readonly kind: "number"; readonly name: "double" | "float" }
  | { readonly kind: "bool" | "string" | "bytes" | "timestamp" | "duration" }
  | { readonly kind: "enum"; readonly desc: DescEnum }
  /** JSON of no fixed shape: a Value or a ListValue. */
  | { readonly kind: "json" }
  /** A Struct: an object with any keys. */
  | { readonly kind: "object" }
  | { readonly kind: "message"; readonly desc: DescMessage };

function integer(name: string, bits: bigint, isSigned: boolean): ValueType {
  return {
    kind: "integer",
    name,
    min: isSigned ? -(1n << (bits - 1n)) : 0n,
    max: (1n << (isSigned ? bits - 1n : bits)) - 1n,
    isUint64: !isSigned && bits === 64n,
  };
}

const scalarTypes: Readonly<Record<ScalarType, ValueType>> = {
  [ScalarType.INT32]: integer("int32", 32n, true),
  [ScalarType.SINT32]: integer("sint32", 32n, true),
  [ScalarType.SFIXED32]: integer("sfixed32", 32n, true),
  [ScalarType.UINT32]: integer("uint32", 32n, false),
  [ScalarType.FIXED32]: integer("fixed32", 32n, false),
  [ScalarType.INT64]: integer("int64", 64n, true),
  [ScalarType.SINT64]: integer("sint64", 64n, true),
  [ScalarType.SFIXED64]: integer("sfixed64", 64n, true),
  [ScalarType.UINT64]: integer("uint64", 64n, false),
  [ScalarType.FIXED64]: integer("fixed64", 64n, false),
  [ScalarType.DOUBLE]: { kind: "number", name: "double" },
  [ScalarType.FLOAT]: { kind: "number", name: "float" },
  [ScalarType.BOOL]: { kind: "bool" },
  [ScalarType.STRING]: { kind: "string" },
  [ScalarType.BYTES]: { kind: "bytes" },
};

export function scalarType(type: ScalarType): ValueType {
  return scalarTypes[type];
}

/** The type of a message's value in a document: a wrapper is what it wraps. */
export function messageType(desc: DescMessage): ValueType {
  if (isWrapperDesc(desc)) {
    const wrapped = desc.fields[0]?.scalar;
    if (wrapped !== undefined) return scalarTypes[wrapped];
  }
  switch (desc.typeName) {
    case "google.protobuf.Timestamp":
      return { kind: "timestamp" };
    case "google.protobuf.Duration":
      return { kind: "duration" };
    case "google.protobuf.Value":
    case "google.protobuf.ListValue":
      return { kind: "json" };
    case "google.protobuf.Struct":
      return { kind: "object" };
    default:
      return { kind: "message", desc };
  }
}

/** The type of a field's value, of each item of a repeated one, of each value of a map. */
export function fieldType(field: DescField): ValueType {
  if (field.message !== undefined) return messageType(field.message);
  if (field.enum !== undefined) return { kind: "enum", desc: field.enum };
  return scalarTypes[field.scalar];
}

/** True if a document holds the field only while it is set. */
export function hasPresence(field: DescField): boolean {
  return field.message !== undefined || field.presence !== FeatureSet_FieldPresence.IMPLICIT;
}

/** How messages call a type, as in `an int32`. */
export function typeLabel(type: ValueType): string {
  switch (type.kind) {
    case "integer":
      return type.name.startsWith("i") ? `an ${type.name}` : `a ${type.name}`;
    case "number":
      return `a ${type.name}`;
    case "enum":
      return `the enum ${type.desc.typeName}`;
    case "json":
      return "JSON of any kind";
    case "object":
      return "a google.protobuf.Struct";
    case "message":
      return `a ${type.desc.typeName}`;
    case "bytes":
      return "bytes";
    default:
      return `a ${type.kind}`;
  }
}
