import type { WireReader } from "./wire-reader.ts";

/** A string that needs escapes in JSON. Most need none and are kept as they are. */
export class EscapedText {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/** What was read of a message: one slot a field, in the order of the descriptor. */
export class Slots {
  readonly values: Slot[];

  constructor(size: number) {
    const values: Slot[] = [];
    for (let slot = 0; slot < size; slot += 1) values.push(undefined);
    this.values = values;
  }
}

/**
 * What was read of one field: nothing yet, the JSON of a scalar, the text of a string, a view of
 * bytes, a message, or several of these. Which of them, only the field's plan knows.
 */
export type Slot =
  | undefined
  | string
  | EscapedText
  | Uint8Array
  | Slots
  | Slot[]
  | Map<string, Slot>;

/** What the writers of values share while one document is written. */
export interface Sink {
  /** Messages around the value that is being written. */
  depth: number;
  /** Takes the value of a string field for full-text search. */
  addText(text: string): void;
  /** The JSON of an Any with its content, if the type is known and the content can be read. */
  writeAny(typeUrl: string, value: Uint8Array): string;
}

/** How to read and write values of one type: a scalar, an enum or a message. */
export interface ItemPlan {
  readonly wireType: number;
  /**
   * Reads the value after a tag.
   *
   * @param existing what the field held before: messages merge into it.
   * @returns undefined for a value that counts as unknown.
   */
  readonly read: (reader: WireReader, existing: Slot) => Slot;
  /** The value's JSON. */
  readonly write: (value: Slot, sink: Sink) => string;
  /** The value of a map entry without one, and of a field without presence. */
  readonly zero: () => Slot;
}

export function textOf(value: Slot): string {
  if (typeof value === "string") return value;
  return value instanceof EscapedText ? value.text : "";
}
