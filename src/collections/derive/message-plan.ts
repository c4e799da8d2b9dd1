import { type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { FeatureSet_FieldPresence } from "@bufbuild/protobuf/wkt";
import { enumItem, mapKey, scalarItem } from "./scalar-items.ts";
import { type ItemPlan, type Sink, type Slot, Slots } from "./slots.ts";
import { type MessageWriter, wellKnownWriter } from "./well-known.ts";
import { messageDepthMax, tooDeep, WireError, type WireReader, wireTypes } from "./wire-reader.ts";

/** Reads and writes one field; compiled once a descriptor. */
interface FieldPlan {
  readonly field: DescField;
  /** The field's key in the document, quoted, with colon. */
  readonly key: string;
  /** The same after another field: with a comma before it. */
  readonly nextKey: string;
  readonly slot: number;
  readonly item: ItemPlan;
  /** Reads what follows a tag into the field's slot. */
  readonly read: (reader: WireReader, slots: Slot[], tag: number) => void;
  /** The field's JSON, or undefined if the document leaves it out. */
  readonly write: (value: Slot, sink: Sink) => string | undefined;
}

type ReadWrite = Pick<FieldPlan, "read" | "write">;

/** Fields are found in an array by tags up to this, and in a map by higher ones. */
const tableTagMax = 2048;

/**
 * How to read the wire bytes of one message type and write its document: closures compiled from the
 * descriptor, so that a record costs no reflection.
 */
export class MessagePlan {
  readonly desc: DescMessage;
  readonly #fields: FieldPlan[] = [];
  /** By tags in the wire types that are the field's own. */
  readonly #byTag: (FieldPlan | undefined)[] = [];
  readonly #byHighTag = new Map<number, FieldPlan>();
  readonly #byNumber = new Map<number, FieldPlan>();
  #wellKnown: MessageWriter | undefined;

  private constructor(desc: DescMessage) {
    this.desc = desc;
  }

  /** The plan of a descriptor: compiled once, kept as long as the descriptor. */
  static of(desc: DescMessage): MessagePlan {
    const known = plans.get(desc);
    if (known !== undefined) return known;
    const plan = new MessagePlan(desc);
    plan.#compile();
    plans.set(desc, plan);
    return plan;
  }

  /** True if the document of this type is not an object of its fields. */
  get isWellKnown(): boolean {
    return this.#wellKnown !== undefined;
  }

  newSlots(): Slots {
    return new Slots(this.#fields.length);
  }

  /** Reads fields up to `end`, merging into `into`. */
  read(reader: WireReader, into: Slots, end: number): void {
    reader.depth += 1;
    if (reader.depth > messageDepthMax) throw tooDeep();
    while (reader.pos < end) this.#readField(reader, into.values, reader.tag());
    if (reader.pos !== end) reader.irregular = true;
    reader.depth -= 1;
  }

  /** Reads fields up to the end of the group with field number `number`. */
  readGroup(reader: WireReader, into: Slots, number: number): void {
    reader.depth += 1;
    if (reader.depth > messageDepthMax) throw tooDeep();
    for (;;) {
      if (reader.pos >= reader.len) throw new WireError("a group has no end");
      const tag = reader.tag();
      if ((tag & 7) === wireTypes.endGroup) {
        if (tag >>> 3 !== number) throw new WireError("a group ends that has not begun");
        break;
      }
      this.#readField(reader, into.values, tag);
    }
    reader.depth -= 1;
  }

  /** The JSON of a message that was read. */
  write(message: Slots, sink: Sink): string {
    sink.depth += 1;
    const json =
      this.#wellKnown === undefined
        ? `{${this.#members(message.values, sink)}}`
        : this.#wellKnown(message.values, sink);
    sink.depth -= 1;
    return json;
  }

  /** The members of the document's object, without its braces: an Any puts its `@type` first. */
  writeMembers(message: Slots, sink: Sink): string {
    sink.depth += 1;
    const json = this.#members(message.values, sink);
    sink.depth -= 1;
    return json;
  }

  #readField(reader: WireReader, slots: Slot[], tag: number): void {
    let plan = tag < tableTagMax ? this.#byTag[tag] : this.#byHighTag.get(tag);
    if (plan === undefined) {
      plan = this.#byNumber.get(tag >>> 3);
      if (plan === undefined) {
        reader.skip(tag, messageDepthMax - reader.depth);
        return;
      }
      reader.irregular = true;
    }
    reader.fieldName = plan.field.name;
    plan.read(reader, slots, tag);
  }

  #members(slots: readonly Slot[], sink: Sink): string {
    const fields = this.#fields;
    let json = "";
    for (let slot = 0; slot < fields.length; slot += 1) {
      const plan = fields[slot] as FieldPlan;
      const value = plan.write(slots[slot], sink);
      if (value !== undefined) json += (json === "" ? plan.key : plan.nextKey) + value;
    }
    return json;
  }

  #compile(): void {
    for (const [slot, field] of this.desc.fields.entries()) {
      const plan = compileField(field, slot);
      this.#fields.push(plan);
      this.#byNumber.set(field.number, plan);
      for (const wireType of wireTypesOf(plan)) {
        const tag = ((field.number << 3) | wireType) >>> 0;
        if (tag >= tableTagMax) this.#byHighTag.set(tag, plan);
        else {
          // Without holes the array is the faster one.
          while (this.#byTag.length <= tag) this.#byTag.push(undefined);
          this.#byTag[tag] = plan;
        }
      }
    }
    this.#wellKnown = wellKnownWriter(this.desc, (name) => this.field(name));
  }

  /** How one field is kept and written. @param name its proto name; it has to exist */
  field(name: string): Pick<FieldPlan, "slot" | "item" | "write"> {
    const plan = this.#fields.find((candidate) => candidate.field.name === name);
    if (plan === undefined) throw new Error(`${this.desc.typeName} has no field ${name}`);
    return plan;
  }
}

const plans = new WeakMap<DescMessage, MessagePlan>();

function compileField(field: DescField, slot: number): FieldPlan {
  const item = itemOf(field);
  const key = `${JSON.stringify(field.name)}:`;
  const common = { field, key, nextKey: `,${key}`, slot, item };
  if (field.fieldKind === "list") return { ...common, ...compileList(field, item, slot) };
  if (field.fieldKind === "map") return { ...common, ...compileMap(field, item, slot) };
  return { ...common, ...compileSingular(field, item, slot) };
}

/** The plan of a field's value, list element or map value. */
function itemOf(field: DescField): ItemPlan {
  if (field.message !== undefined) return messageItem(field);
  if (field.enum !== undefined) {
    return enumItem(field.enum, field.fieldKind === "enum" && !field.enum.open);
  }
  return scalarItem(field.scalar, field.utf8Validation);
}

function messageItem(field: DescField & { message: DescMessage }): ItemPlan {
  const { name, number } = field;
  // Compiled when first met: types can refer to each other in chains of any length.
  let compiled: MessagePlan | undefined;
  const planOf = (): MessagePlan => (compiled ??= MessagePlan.of(field.message));
  const isGroup = field.fieldKind !== "map" && field.delimitedEncoding;
  return {
    wireType: isGroup ? wireTypes.startGroup : wireTypes.lengthDelimited,
    read: (reader, existing) => {
      const plan = planOf();
      const message = existing instanceof Slots ? existing : plan.newSlots();
      if (isGroup) {
        reader.path.push(name);
        plan.readGroup(reader, message, number);
      } else {
        const size = reader.uint32();
        reader.path.push(name);
        plan.read(reader, message, reader.pos + size);
      }
      reader.path.pop();
      return message;
    },
    write: (value, sink) => planOf().write(value as Slots, sink),
    zero: () => planOf().newSlots(),
  };
}

function compileSingular(
  field: DescField & { fieldKind: "scalar" | "enum" | "message" },
  item: ItemPlan,
  slot: number,
): ReadWrite {
  const { read, write } = item;
  const isImplicit =
    field.fieldKind !== "message" && field.presence === FeatureSet_FieldPresence.IMPLICIT;
  const siblings = (field.oneof?.fields ?? [])
    .filter((sibling) => sibling !== field)
    .map((sibling) => field.parent.fields.indexOf(sibling));
  return {
    read: (reader, slots) => {
      const value = read(reader, slots[slot]);
      if (value === undefined) return;
      for (const sibling of siblings) slots[sibling] = undefined;
      slots[slot] = value;
    },
    write: isImplicit
      ? (value, sink) => (value === undefined ? write(item.zero(), sink) : write(value, sink))
      : (value, sink) => (value === undefined ? undefined : write(value, sink)),
  };
}

function compileList(
  field: DescField & { fieldKind: "list" },
  { read, write }: ItemPlan,
  slot: number,
): ReadWrite {
  const packable = isPackable(field);
  return {
    read: (reader, slots, tag) => {
      slots[slot] ??= [];
      const items = slots[slot] as Slot[];
      if (packable && (tag & 7) === wireTypes.lengthDelimited) {
        const size = reader.uint32();
        const end = reader.pos + size;
        while (reader.pos < end) items.push(read(reader, undefined));
        if (reader.pos !== end) reader.irregular = true;
      } else {
        items.push(read(reader, undefined));
      }
    },
    write: (value, sink) => {
      const items = value as Slot[] | undefined;
      if (items === undefined || items.length === 0) return undefined;
      let json = "";
      for (const item of items) {
        json += json === "" ? `[${write(item, sink)}` : `,${write(item, sink)}`;
      }
      return `${json}]`;
    },
  };
}

function compileMap(
  field: DescField & { fieldKind: "map" },
  item: ItemPlan,
  slot: number,
): ReadWrite {
  const key = mapKey(field.mapKey, field.utf8Validation);
  return {
    read: (reader, slots) => {
      slots[slot] ??= new Map<string, Slot>();
      const entries = slots[slot] as Map<string, Slot>;
      const size = reader.uint32();
      const end = reader.pos + size;
      let entryKey = key.zero;
      let entryValue: Slot;
      while (reader.pos < end) {
        const tag = reader.tag();
        switch (tag >>> 3) {
          case 1:
            if ((tag & 7) !== key.wireType) reader.irregular = true;
            entryKey = key.read(reader);
            break;
          case 2:
            if ((tag & 7) !== item.wireType) reader.irregular = true;
            entryValue = item.read(reader, entryValue);
            break;
          default:
            reader.skip(tag, messageDepthMax - reader.depth);
        }
      }
      if (reader.pos !== end) reader.irregular = true;
      entries.set(entryKey, entryValue ?? item.zero());
    },
    write: (value, sink) => {
      const entries = value as Map<string, Slot> | undefined;
      if (entries === undefined || entries.size === 0) return undefined;
      let json = "";
      for (const [entryKey, entryValue] of entries) {
        const member = `${JSON.stringify(entryKey)}:${item.write(entryValue, sink)}`;
        json += json === "" ? `{${member}` : `,${member}`;
      }
      return `${json}}`;
    },
  };
}

function isPackable(field: DescField & { fieldKind: "list" }): boolean {
  return (
    field.listKind !== "message" &&
    field.scalar !== ScalarType.STRING &&
    field.scalar !== ScalarType.BYTES
  );
}

function wireTypesOf({ field, item }: FieldPlan): number[] {
  if (field.fieldKind === "map") return [wireTypes.lengthDelimited];
  if (field.fieldKind === "list" && isPackable(field)) {
    return [item.wireType, wireTypes.lengthDelimited];
  }
  return [item.wireType];
}
