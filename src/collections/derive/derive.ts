import type { DescMessage, Registry } from "@bufbuild/protobuf";
import { CollectorError } from "../../errors.ts";
import type { Limits } from "../../lib/limits.ts";
import { bytesForm } from "./forms.ts";
import { MessagePlan } from "./message-plan.ts";
import type { Sink, Slots } from "./slots.ts";
import { messageDepthMax, WireError, WireReader } from "./wire-reader.ts";

/** What of the limits shapes what is derived. */
export type DeriveLimits = Pick<Limits, "recordTextCharsMax">;

/**
 * True if a strict parser reads the same from these bytes as protobuf-es does: each field under its
 * own wire type, each message ending where its length says.
 *
 * @throws {CollectorError} ITEM_UNPARSABLE
 */
export function isRegular(desc: DescMessage, bytes: Uint8Array, field = "item.value"): boolean {
  const reader = new WireReader(bytes);
  readMessage(MessagePlan.of(desc), reader, bytes.byteLength, field);
  return !reader.irregular;
}

/**
 * Reads the bytes of a message, checking them: they pass if and only if protobuf-es reads them.
 *
 * @param field the request's field that holds the bytes, for the error.
 * @throws {CollectorError} ITEM_UNPARSABLE naming the field in the message and the offset.
 */
export function readMessage(
  plan: MessagePlan,
  reader: WireReader,
  end: number,
  field: string,
): Slots {
  const message = plan.newSlots();
  try {
    plan.read(reader, message, end);
    return message;
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    const place = [...reader.path, reader.fieldName].filter((name) => name !== "").join(".");
    const description =
      `does not parse as ${plan.desc.typeName}: ${error.message}, at byte ${reader.pos}` +
      (place === "" ? "" : `, in or after field \`${place}\``);
    throw new CollectorError("ITEM_UNPARSABLE", `${field}: ${description}`, {
      subject: { type: plan.desc.typeName, offset: String(reader.pos), path: place },
      violations: [{ field, description }],
    });
  }
}

/**
 * Takes up the text of a message while its document is written: the value of every string field, in
 * the order of the descriptor; in nested messages, lists, maps (values, not keys), and in an Any of a
 * type that `types` knows. It is cut at the limit.
 */
export class DocumentSink implements Sink {
  depth = 0;
  text = "";
  readonly #types: Registry;
  readonly #reader: WireReader;
  #textLeft: number;

  constructor(types: Registry, reader: WireReader, textCharsMax: number) {
    this.#types = types;
    this.#reader = reader;
    this.#textLeft = textCharsMax;
  }

  addText(text: string): void {
    if (text === "" || this.#textLeft <= 0) return;
    const separated = this.text === "" ? text : `\n${text}`;
    this.text += separated.length <= this.#textLeft ? separated : cut(separated, this.#textLeft);
    this.#textLeft -= separated.length;
  }

  writeAny(typeUrl: string, value: Uint8Array): string {
    if (typeUrl === "" && value.byteLength === 0) return "{}";
    const head = `{"@type":${JSON.stringify(typeUrl)}`;
    const desc = this.#types.getMessage(typeUrl.slice(typeUrl.lastIndexOf("/") + 1));
    const content = desc === undefined ? undefined : this.#readContent(desc, value);
    if (content === undefined) return `${head},"value":"${bytesForm(value)}"}`;
    if (content.plan.isWellKnown) {
      return `${head},"value":${content.plan.write(content.message, this)}}`;
    }
    const members = content.plan.writeMembers(content.message, this);
    return members === "" ? `${head}}` : `${head},${members}}`;
  }

  /**
   * Reads what an Any holds, in place; undefined if it cannot be read. Its depth counts on from the
   * depth of the Any, so that a chain of them ends.
   */
  #readContent(
    desc: DescMessage,
    value: Uint8Array,
  ): { plan: MessagePlan; message: Slots } | undefined {
    const reader = this.#reader;
    const plan = MessagePlan.of(desc);
    const message = plan.newSlots();
    const end = value.byteOffset - reader.buf.byteOffset + value.byteLength;
    reader.pos = end - value.byteLength;
    reader.len = end;
    reader.depth = Math.min(this.depth, messageDepthMax);
    try {
      plan.read(reader, message, end);
      return { plan, message };
    } catch (error) {
      if (error instanceof WireError) return undefined;
      throw error;
    }
  }
}

/** The first `length` code units of `text`, without half a character at the end. */
export function cut(text: string, length: number): string {
  const isHigh = (text.charCodeAt(length - 1) & 0xfc00) === 0xd800;
  return text.slice(0, isHigh ? length - 1 : length);
}
