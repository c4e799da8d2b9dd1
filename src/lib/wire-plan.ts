import { type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { WireType } from "@bufbuild/protobuf/wire";
import { wireTypeOf } from "./wire-type.ts";

/** How a value that is no message is read. */
export type WireRead = "varint" | "bit64" | "bit32" | "bytes" | "text";

/** A value that a message may have. */
export interface WireValue {
  /** Field number and wire type, as they are written. */
  readonly tag: number;
  readonly read: WireRead;
  /** Many of them behind one length. */
  readonly isPacked?: boolean;
  /** Index of the message that the bytes are. */
  readonly message?: number;
}

/** The messages that a type can hold, the type itself first, as plain data: for processes without the runtime. */
export type WirePlan = readonly (readonly WireValue[])[];

/** Of fields up to number 127: above, arrays by tag become slow. */
const tagsMax = 0x400;

/** What can be told of a type's bytes without the runtime. What is not in it is for the runtime to judge. */
export function wirePlanOf(desc: DescMessage): WirePlan {
  return new Planner().plan(desc);
}

class Planner {
  readonly #messages: WireValue[][] = [];
  /** With their indexes; it grows while it is gone through. */
  readonly #found = new Map<DescMessage, number>();

  plan(desc: DescMessage): WirePlan {
    this.#indexOf(desc);
    for (const [{ fields }, index] of this.#found) {
      for (const field of fields) this.#messages[index]?.push(...this.#field(field));
    }
    return this.#messages;
  }

  #indexOf(desc: DescMessage): number {
    const known = this.#found.get(desc);
    if (known !== undefined) return known;
    const index = this.#messages.push([]) - 1;
    this.#found.set(desc, index);
    return index;
  }

  #field(field: DescField): readonly WireValue[] {
    const { number } = field;
    if (number * 8 + 7 >= tagsMax) return [];
    if (field.fieldKind === "map") return [this.#nested(number, this.#entry(field))];
    if (field.message !== undefined) {
      const isGroup = "delimitedEncoding" in field && field.delimitedEncoding;
      return isGroup ? [] : [this.#nested(number, this.#indexOf(field.message))];
    }
    const isUtf8Due = "utf8Validation" in field && field.utf8Validation;
    const type = field.scalar ?? ScalarType.INT32;
    const value = scalar(number, type, isUtf8Due);
    const isPackable = field.fieldKind === "list" && wireTypeOf(type) !== WireType.LengthDelimited;
    if (!isPackable) return [value];
    return [value, { ...value, tag: number * 8 + WireType.LengthDelimited, isPacked: true }];
  }

  #entry(field: DescField & { readonly fieldKind: "map" }): number {
    const { mapKey, message, utf8Validation } = field;
    const type = field.scalar ?? ScalarType.INT32;
    const value =
      message === undefined
        ? scalar(2, type, utf8Validation)
        : this.#nested(2, this.#indexOf(message));
    return this.#messages.push([scalar(1, mapKey, utf8Validation), value]) - 1;
  }

  #nested(number: number, message: number): WireValue {
    return { tag: number * 8 + WireType.LengthDelimited, read: "bytes", message };
  }
}

function scalar(number: number, type: ScalarType, isUtf8Due: boolean): WireValue {
  const wireType = wireTypeOf(type);
  return { tag: number * 8 + wireType, read: readOf(wireType, type, isUtf8Due) };
}

function readOf(wireType: WireType, type: ScalarType, isUtf8Due: boolean): WireRead {
  switch (wireType) {
    case WireType.Varint:
      return "varint";
    case WireType.Bit64:
      return "bit64";
    case WireType.Bit32:
      return "bit32";
    default:
      return type === ScalarType.STRING && isUtf8Due ? "text" : "bytes";
  }
}
