import type { DescMessage, JsonObject, JsonValue, Message } from "@bufbuild/protobuf";
import { type Any, anyPack, anyUnpack, StructSchema } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { ClientError } from "./client-error.ts";
import type { DynamicTypes } from "./dynamic-types.ts";
import { type ItemCodec, keyPaths } from "./item-codec.ts";
import { whereText } from "./where.ts";

/** A type that seems to be outdated is asked for again after this time at the earliest. */
const refreshMsMin = 1000;

export interface JsonCodecOptions {
  readonly types: DynamicTypes;
  readonly collection: string;
  /** Name of the type that the collection holds. */
  readonly typeName: () => Promise<string>;
}

/**
 * Items as JSON, by the type that the server has for them. The type is fetched when it is first needed,
 * and again when an item has what the known one lacks.
 */
export class JsonCodec implements ItemCodec<JsonObject, JsonObject> {
  readonly #options: JsonCodecOptions;
  #desc: Promise<DescMessage> | undefined;
  #askedAtMs = 0;

  constructor(options: JsonCodecOptions) {
    this.#options = options;
  }

  async pack(item: JsonObject): Promise<Any> {
    const desc = await this.#type();
    try {
      return anyPack(desc, await this.#options.types.fromJson(desc, item));
    } catch (error) {
      const newer = error instanceof ClientError ? await this.#newerType() : undefined;
      if (newer === undefined) throw error;
      return anyPack(newer, await this.#options.types.fromJson(newer, item));
    }
  }

  async unpack(item: Any | undefined): Promise<JsonObject> {
    if (item === undefined) throw this.#mismatch("nothing");
    const desc = await this.#type();
    const message = this.#parse(item, desc);
    const isOutdated = message.$unknown !== undefined && message.$unknown.length > 0;
    const newer = isOutdated ? await this.#newerType() : undefined;
    if (newer === undefined) return this.#object(await this.#options.types.toJson(desc, message));
    return this.#object(await this.#options.types.toJson(newer, this.#parse(item, newer)));
  }

  async maskOf(fields: JsonObject): Promise<string[]> {
    const desc = await this.#type();
    if (desc.typeName === StructSchema.typeName) return keyPaths(fields);
    return Object.keys(fields).map((key) => {
      const field = desc.fields.find(({ jsonName, name }) => jsonName === key || name === key);
      if (field !== undefined) return field.name;
      throw new ClientError("FIELD_UNKNOWN", `${desc.typeName} has no field ${key}`, {
        code: Code.InvalidArgument,
      });
    });
  }

  async whereOf(where: object | string | undefined): Promise<string> {
    return typeof where === "object" ? whereText(await this.#type(), where) : (where ?? "");
  }

  async #type(): Promise<DescMessage> {
    this.#desc ??= this.#fetchType();
    try {
      return await this.#desc;
    } catch (error) {
      this.#desc = undefined;
      throw error;
    }
  }

  async #fetchType(): Promise<DescMessage> {
    this.#askedAtMs = performance.now();
    return await this.#options.types.message(await this.#options.typeName());
  }

  /** The type as the server has it by now; undefined if it was asked a moment ago. */
  async #newerType(): Promise<DescMessage | undefined> {
    if (performance.now() - this.#askedAtMs < refreshMsMin) return undefined;
    const { typeName } = await this.#type();
    this.#askedAtMs = performance.now();
    this.#desc = this.#options.types.refresh(typeName);
    return await this.#type();
  }

  #parse(item: Any, desc: DescMessage): Message {
    const message = anyUnpack(item, desc);
    if (message === undefined) throw this.#mismatch(item.typeUrl);
    return message;
  }

  /** A message as a whole is an object, but for the well-known types that JSON has another form for. */
  #object(json: JsonValue): JsonObject {
    if (typeof json === "object" && json !== null && !Array.isArray(json)) return json;
    throw this.#mismatch("a type that is no object in JSON");
  }

  #mismatch(seen: string): ClientError {
    const { collection } = this.#options;
    return new ClientError("ITEM_TYPE_MISMATCH", `collection ${collection} holds ${seen}`, {
      code: Code.FailedPrecondition,
      subject: { collection },
    });
  }
}
