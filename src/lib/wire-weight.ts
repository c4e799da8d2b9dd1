import { type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";

/** Bytes of memory that things take, rather more than was measured of the engine. */
const memory = {
  message: 64,
  field: 8,
  /** A list or a map, empty. */
  collection: 48,
  element: 16,
  mapEntry: 64,
  oneof: 48,
  /** Without its characters. */
  text: 32,
  /** Its bytes stay where the message lies. */
  bytes: 128,
  int64: 24,
  unknownField: 192,
} as const;

/** The most that a byte on the wire weighs: two of them are an empty file of a set of files. */
const weightPerByteMax = 300;

/** Messages in each other that the runtime reads. */
const depthMax = 100;

/** Reads a value, and weighs it. */
type Weigh = (scale: Scale, wireType: WireType) => void;

/** What a type's messages weigh by themselves, and how their fields are read. */
interface Weights {
  readonly own: number;
  readonly fields: Map<number, Weigh>;
}

/**
 * About how much memory a message takes once it is decoded, in bytes: a byte on the wire may become hundreds. It reads
 * as the runtime does, so bytes that are none are weighed as far as the runtime would come. Fields that are not known
 * count as those that are kept.
 *
 * @param max from where on it is not weighed further
 */
export function wireWeight(
  desc: DescMessage,
  bytes: Uint8Array,
  max: number = Number.MAX_SAFE_INTEGER,
): number {
  const scale = new Scale(bytes, max);
  const weights = weightsOf(desc);
  try {
    scale.weigh(weights, bytes.byteLength);
  } catch {
    // The runtime gives up there too, and says why.
  }
  return scale.weight;
}

/** Whether a message would take more memory than it may. Short messages are not looked at, for they cannot. */
export function isTooHeavy(desc: DescMessage, bytes: Uint8Array, max: number): boolean {
  return bytes.byteLength * weightPerByteMax > max && wireWeight(desc, bytes, max) > max;
}

class Scale {
  readonly reader: BinaryReader;
  readonly #max: number;
  weight = 0;
  #depth = 0;

  constructor(bytes: Uint8Array, max: number) {
    this.reader = new BinaryReader(bytes);
    this.#max = max;
  }

  /** Weighs the message that ends `length` bytes from here. */
  weigh({ own, fields }: Weights, length: number): void {
    this.#depth += 1;
    if (this.#depth > depthMax) throw new RangeError("messages are nested too deep");
    this.weight += own;
    this.each(length, (field, wireType) => {
      const weigh = fields.get(field);
      if (weigh === undefined) this.skip(field, wireType);
      else weigh(this, wireType);
    });
    this.#depth -= 1;
  }

  /** Goes through the fields of what ends `length` bytes from here, until there is too much of them. */
  each(length: number, read: (field: number, wireType: WireType) => void): void {
    const end = this.reader.pos + length;
    while (this.reader.pos < end && this.weight <= this.#max) {
      const [field, wireType] = this.reader.tag();
      read(field, wireType);
    }
  }

  skip(field: number, wireType: WireType): void {
    this.reader.skip(wireType, field, depthMax - this.#depth);
    this.weight += memory.unknownField;
  }

  /** A value that is no message. */
  scalar(type: ScalarType): void {
    const { reader } = this;
    switch (type) {
      case ScalarType.STRING:
      case ScalarType.BYTES: {
        const length = reader.uint32();
        reader.pos += length;
        this.weight += type === ScalarType.STRING ? memory.text + length : memory.bytes;
        break;
      }
      case ScalarType.DOUBLE:
      case ScalarType.FIXED64:
      case ScalarType.SFIXED64:
        reader.pos += 8;
        this.weight += memory.int64;
        break;
      case ScalarType.FLOAT:
      case ScalarType.FIXED32:
      case ScalarType.SFIXED32:
        reader.pos += 4;
        break;
      case ScalarType.INT64:
      case ScalarType.SINT64:
      case ScalarType.UINT64:
        reader.int64();
        this.weight += memory.int64;
        break;
      default:
        reader.uint32();
    }
  }

  /** Elements of a list behind one length. */
  packed(type: ScalarType): void {
    const length = this.reader.uint32();
    const end = this.reader.pos + length;
    while (this.reader.pos < end && this.weight <= this.#max) {
      this.scalar(type);
      this.weight += memory.element;
    }
  }
}

const known = new WeakMap<DescMessage, Weights>();

function weightsOf(desc: DescMessage): Weights {
  const before = known.get(desc);
  if (before !== undefined) return before;
  const collections = desc.fields.filter(isCollection).length;
  const own =
    memory.message +
    desc.fields.length * memory.field +
    collections * memory.collection +
    desc.oneofs.length * memory.oneof;
  const weights: Weights = { own, fields: new Map() };
  // First, since types can hold themselves.
  known.set(desc, weights);
  for (const field of desc.fields) weights.fields.set(field.number, weighOf(field));
  return weights;
}

function isCollection({ fieldKind }: DescField): boolean {
  return fieldKind === "list" || fieldKind === "map";
}

function weighOf(field: DescField): Weigh {
  if ("delimitedEncoding" in field && field.delimitedEncoding) {
    throw new TypeError(`${field.toString()} is a group, which is not weighed`);
  }
  switch (field.fieldKind) {
    case "map":
      return mapEntry(field.mapKey, single(field));
    case "list":
      return element(field);
    default:
      return single(field);
  }
}

/** One value, which may be one of many. */
function single(field: DescField): Weigh {
  if (field.message === undefined) {
    const type = field.scalar ?? ScalarType.INT32;
    return (scale) => scale.scalar(type);
  }
  const weights = weightsOf(field.message);
  return (scale) => scale.weigh(weights, scale.reader.uint32());
}

function element(field: DescField & { readonly fieldKind: "list" }): Weigh {
  const weigh = single(field);
  const type = field.message === undefined ? (field.scalar ?? ScalarType.INT32) : undefined;
  const isPackable = type !== undefined && type !== ScalarType.STRING && type !== ScalarType.BYTES;
  return (scale, wireType) => {
    if (isPackable && wireType === WireType.LengthDelimited) {
      scale.packed(type);
      return;
    }
    scale.weight += memory.element;
    weigh(scale, wireType);
  };
}

function mapEntry(key: ScalarType, weighValue: Weigh): Weigh {
  return (scale) => {
    scale.weight += memory.mapEntry;
    scale.each(scale.reader.uint32(), (field, wireType) => {
      if (field === 1) scale.scalar(key);
      else if (field === 2) weighValue(scale, wireType);
      else scale.skip(field, wireType);
    });
  };
}
