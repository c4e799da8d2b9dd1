import type { DescMessage, Registry } from "@bufbuild/protobuf";
import { TimestampSchema } from "@bufbuild/protobuf/wkt";
import { invalidField } from "../../errors.ts";
import type { RecordContent } from "../../storage/record-store.ts";
import type { StoreShape, VectorIndexDefinition } from "../../storage/store-layout.ts";
import { resolvePath } from "../field-paths.ts";
import { cut, type DeriveLimits, DocumentSink, readMessage } from "./derive.ts";
import { timestampForm } from "./forms.ts";
import { MessagePlan } from "./message-plan.ts";
import { Slots, textOf } from "./slots.ts";
import { compileWalk, type ValueWalk } from "./value-walk.ts";
import { faultOfVector, vectorOfSlot } from "./vector-values.ts";
import { WireReader } from "./wire-reader.ts";

/** When records expire: at a time that they hold, or so long after their last write. */
export type ExpirySource =
  | { readonly kind: "timestamp"; readonly path: string }
  | { readonly kind: "timeToLive"; readonly us: bigint };

/** What a definition says of what is derived, beside the store's shape. */
export interface DeriveSources {
  /** Paths of the vectors that are in the message, by name; the others come beside it. */
  readonly vectorPaths: ReadonlyMap<string, string>;
  readonly expiry: ExpirySource | undefined;
}

export interface DerivePlanOptions extends Partial<DeriveSources> {
  readonly desc: DescMessage;
  /** Resolves what an Any holds. */
  readonly types: Registry;
  readonly shape: StoreShape;
  readonly limits: DeriveLimits;
}

/** What a write tells beside the bytes. */
export interface DeriveGiven {
  /** When the record is or was written. */
  readonly writtenUs: bigint;
  /** Vectors that come beside the message, checked, by name; undefined takes one away. */
  readonly vectors?: ReadonlyMap<string, Float32Array | undefined> | undefined;
  /** The record keeps vectors of its own that are not given. */
  readonly keepsVectors?: boolean;
  /** A vector in the message that does not fit counts as none: the record was there before. */
  readonly isLenient?: boolean;
}

interface VectorPlan {
  readonly definition: VectorIndexDefinition;
  /** Undefined if the vector comes beside the message. */
  readonly path: string | undefined;
  readonly walk: ValueWalk | undefined;
}

/** How to derive what a store wants of records of a type: compiled once for all of them. */
export class DerivePlan {
  readonly shape: StoreShape;
  readonly #options: DerivePlanOptions;
  readonly #message: MessagePlan;
  /** Field names of each text index. */
  readonly #texts: readonly (readonly string[])[];
  readonly #walks = new Map<string, ValueWalk | undefined>();
  readonly #vectors: readonly VectorPlan[];
  readonly #expiry: ValueWalk | undefined;
  /** All text is wanted as one. */
  readonly #wantsAllText: boolean;

  constructor(options: DerivePlanOptions) {
    const { desc, shape, vectorPaths, expiry } = options;
    this.shape = shape;
    this.#options = options;
    this.#message = MessagePlan.of(desc);
    this.#texts = shape.texts.map(({ definition }) => definition.fields.map(({ name }) => name));
    const names = new Set(this.#texts.flat());
    this.#wantsAllText = names.delete("");
    for (const name of names) this.#walks.set(name, walkTo(desc, name));
    this.#vectors = shape.vectors.map(({ definition }) => {
      const path = vectorPaths?.get(definition.name);
      const walk = path === undefined ? undefined : walkTo(desc, path);
      return { definition, path, walk };
    });
    this.#expiry = expiry?.kind === "timestamp" ? walkTo(desc, expiry.path) : undefined;
  }

  get desc(): DescMessage {
    return this.#options.desc;
  }

  get canExpire(): boolean {
    return this.#options.expiry !== undefined;
  }

  /** True if a write of labels alone puts off the record's end. */
  get hasTimeToLive(): boolean {
    return this.#options.expiry?.kind === "timeToLive";
  }

  /** The vectors that come beside the message. */
  get vectorsBeside(): VectorIndexDefinition[] {
    return this.#vectors
      .filter(({ path }) => path === undefined)
      .map(({ definition }) => definition);
  }

  /** Names of the vectors that are in the message. */
  get vectorsInside(): string[] {
    return this.#vectors
      .filter(({ path }) => path !== undefined)
      .map(({ definition }) => definition.name);
  }

  /**
   * Derives all that the store wants from the bytes of a message, checking them on the way.
   *
   * @param field the request's field that holds the bytes, for errors.
   * @throws {CollectorError} ITEM_UNPARSABLE; ARGUMENT_INVALID for a vector that does not fit
   */
  derive(data: Uint8Array, given: DeriveGiven, field = "item.value"): RecordContent {
    const { types, limits, shape } = this.#options;
    const reader = new WireReader(data);
    const message = readMessage(this.#message, reader, data.byteLength, field);
    const charsMax = this.#wantsAllText ? limits.recordTextCharsMax : 0;
    const sink = new DocumentSink(types, reader, charsMax);
    const json = this.#message.write(message, sink);
    // A collection may be of a type whose form is no object, as Value; a document has to be one.
    const isObject = !this.#message.isWellKnown || json.startsWith("{");
    return {
      data,
      document: isObject ? json : `{"value":${json}}`,
      shape: shape.version,
      texts:
        this.#walks.size === 0
          ? this.#wholeTexts(sink.text)
          : this.#readTexts(message, reader, sink.text),
      vectors: this.#vectors.length === 0 ? noVectors : this.#readVectors(message, given, field),
      expiresUs: this.#expiresUs(message, given.writtenUs),
    };
  }

  #wholeTexts(text: string): string[][] {
    return this.#texts.map((names) => names.map(() => text));
  }

  #readTexts(message: Slots, reader: WireReader, all: string): string[][] {
    const { types, limits } = this.#options;
    const found = new Map<string, string>([["", all]]);
    for (const [name, walk] of this.#walks) {
      const sink = new DocumentSink(types, reader, limits.recordTextCharsMax);
      sink.depth = 1;
      walk?.(message, ({ value, write }) => void write(value, sink));
      found.set(name, sink.text);
    }
    return this.#texts.map((names) => {
      let left = limits.recordTextCharsMax;
      return names.map((name) => {
        const text = found.get(name) ?? "";
        const kept = text.length <= left ? text : cut(text, left);
        left -= kept.length;
        return kept;
      });
    });
  }

  #readVectors(
    message: Slots,
    given: DeriveGiven,
    field: string,
  ): (Float32Array | "keep" | undefined)[] {
    return this.#vectors.map(({ definition, path, walk }) => {
      const { name } = definition;
      if (path === undefined) {
        if (given.vectors?.has(name) === true) return given.vectors.get(name);
        return given.keepsVectors === true ? "keep" : undefined;
      }
      let vector: Float32Array | undefined;
      walk?.(message, ({ value }) => {
        vector = vectorOfSlot(value);
      });
      if (vector === undefined || vector.length === 0) return undefined;
      const fault = faultOfVector(vector, definition);
      if (fault === undefined) return vector;
      if (given.isLenient === true || this.#fitsAnother(vector, definition)) return undefined;
      const at = `${field.replace(/\.value$/, "")}.${path}`;
      const description = `${fault}, for vector field ${name}`;
      throw invalidField("ARGUMENT_INVALID", at, description);
    });
  }

  /** While a vector field changes, records fit that have the old form, or the new one. */
  #fitsAnother(vector: Float32Array, { name }: VectorIndexDefinition): boolean {
    return this.#vectors.some(
      ({ definition }) =>
        definition.name === name && faultOfVector(vector, definition) === undefined,
    );
  }

  #expiresUs(message: Slots, writtenUs: bigint): bigint | undefined {
    const { expiry } = this.#options;
    if (expiry === undefined) return undefined;
    if (expiry.kind === "timeToLive") return writtenUs + expiry.us;
    let expires: bigint | undefined;
    this.#expiry?.(message, ({ value }) => {
      if (value instanceof Slots) expires = timestampUs(value);
    });
    return expires;
  }
}

const noVectors: readonly undefined[] = [];

const timestampFields = {
  seconds: TimestampSchema.fields.findIndex(({ name }) => name === "seconds"),
  nanos: TimestampSchema.fields.findIndex(({ name }) => name === "nanos"),
};

/** A Timestamp in microseconds; undefined for one that stands for no time. */
function timestampUs({ values }: Slots): bigint | undefined {
  const seconds = textOf(values[timestampFields.seconds]) || "0";
  const nanos = Number(textOf(values[timestampFields.nanos]));
  if (timestampForm(Number(seconds), nanos) === undefined) return undefined;
  return BigInt(seconds) * 1_000_000n + BigInt(Math.floor(nanos / 1000));
}

/** Undefined where a newer version of the type has no such field: nothing is found there. */
function walkTo(desc: DescMessage, path: string): ValueWalk | undefined {
  try {
    return compileWalk(resolvePath(desc, path, "path", { throughLists: true }));
  } catch {
    return undefined;
  }
}
