import {
  create,
  type DescMessage,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import { type Any, anyPack, anyUnpack, StructSchema } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { ClientError } from "./client-error.ts";
import { whereText } from "./where.ts";

/** How the items of one collection travel, and what is said of their fields. */
export interface ItemCodec<Item, Init> {
  /** @throws {ClientError} JSON_INVALID */
  pack(item: Init): Any | Promise<Any>;
  /** @throws {ClientError} ITEM_TYPE_MISMATCH */
  unpack(item: Any | undefined): Item | Promise<Item>;
  /** The update mask of the fields that a patch has. @throws {ClientError} FIELD_UNKNOWN */
  maskOf(fields: Init): string[] | Promise<string[]>;
  /** Conditions in the server's language. @throws {ClientError} FIELD_UNKNOWN */
  whereOf(where: object | string | undefined): string | Promise<string>;
}

/** Messages of a type that the program was built with. */
export class MessageCodec<Desc extends DescMessage>
  implements ItemCodec<MessageShape<Desc>, MessageInitShape<Desc>>
{
  readonly #schema: Desc;
  readonly #collection: string;

  constructor(schema: Desc, collection: string) {
    this.#schema = schema;
    this.#collection = collection;
  }

  pack(item: MessageInitShape<Desc>): Any {
    return anyPack(this.#schema, create(this.#schema, item));
  }

  /** @throws {ClientError} ITEM_TYPE_MISMATCH if the collection holds another type than the program expects */
  unpack(item: Any | undefined): MessageShape<Desc> {
    const message = item === undefined ? undefined : anyUnpack(item, this.#schema);
    if (message !== undefined) return message;
    const seen = item?.typeUrl ?? "nothing";
    throw new ClientError(
      "ITEM_TYPE_MISMATCH",
      `collection ${this.#collection} holds ${seen}, this program expects ${this.#schema.typeName}`,
      { code: Code.FailedPrecondition, subject: { collection: this.#collection } },
    );
  }

  maskOf(fields: MessageInitShape<Desc>): string[] {
    // To the server, the fields of a Struct are its keys.
    if (this.#schema.typeName === StructSchema.typeName && "fields" in fields) {
      return keyPaths(Object(fields["fields"]) as object);
    }
    return Object.keys(fields)
      .filter((key) => key !== "$typeName" && key !== "$unknown")
      .map((key) => this.#protoName(key));
  }

  whereOf(where: object | string | undefined): string {
    return whereText(this.#schema, where);
  }

  #protoName(localName: string): string {
    const field = this.#schema.field[localName];
    if (field !== undefined) return field.name;
    const oneof = this.#schema.oneofs.find((candidate) => candidate.localName === localName);
    const message =
      oneof === undefined
        ? `${this.#schema.typeName} has no field ${localName}`
        : `patch cannot tell which field of oneof ${oneof.name} to set; use update`;
    throw new ClientError("FIELD_UNKNOWN", message, { code: Code.InvalidArgument });
  }
}

/** The paths of the keys of a Struct in an update mask. */
export function keyPaths(fields: object): string[] {
  return Object.keys(fields).map((key) => (/^\w+$/.test(key) ? key : `\`${key}\``));
}
