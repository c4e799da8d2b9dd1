import { type DescField, type DescMessage, type Message, ScalarType } from "@bufbuild/protobuf";
import { CollectorError } from "../errors.ts";
import type { TypeSource } from "../registry/type-snapshot.ts";
import { readJson } from "./json-codec-read.ts";
import { isJsonObject, type JsonTree, parseJson } from "./json-codec-text.ts";
import { writeJson } from "./json-codec-write.ts";

export interface JsonCodecOptions {
  readonly types: TypeSource;
  /** Deepest nesting of a document that is read. */
  readonly jsonDepthMax: number;
  readonly defaultNamespace: string;
}

/**
 * Messages to and from JSON, where an Any has a type of the namespace that the call is about.
 *
 * Canonical protobuf JSON: lowerCamelCase out, that and proto names in; unknown fields and duplicate
 * keys are refused; 64-bit integers are exact, whether given as a string or as a number.
 */
export class JsonCodec {
  readonly #types: TypeSource;
  readonly #depthMax: number;
  readonly #defaultNamespace: string;

  constructor(options: JsonCodecOptions) {
    this.#types = options.types;
    this.#depthMax = options.jsonDepthMax;
    this.#defaultNamespace = options.defaultNamespace;
  }

  /**
   * Reads a request. Its namespace is looked up first: the document's own `namespace`, else that of
   * the first reference in it that has one, else `headerNamespace`, else the default.
   *
   * @throws {CollectorError} JSON_INVALID, FIELD_UNKNOWN, TYPE_NOT_REGISTERED, naming the field
   */
  read(desc: DescMessage, text: string, headerNamespace: string | undefined): Message {
    const tree = parseJson(text, this.#depthMax);
    const namespace = namespaceIn(desc, tree) ?? headerNamespace ?? this.#defaultNamespace;
    return readJson(desc, tree, { namespace, types: this.#types.snapshot(namespace).types });
  }

  /** Reads a request of a method whose namespace is said by its header alone, else is the default. */
  readRunTime(desc: DescMessage, text: string, headerNamespace: string | undefined): Message {
    const namespace = headerNamespace ?? this.#defaultNamespace;
    const tree = parseJson(text, this.#depthMax);
    return readJson(desc, tree, { namespace, types: this.#types.snapshot(namespace).types });
  }

  /** The JSON of an answer, with the types of `namespace`. */
  write(desc: DescMessage, message: Message, namespace: string): string {
    const types = this.#types.snapshot(namespace).types;
    try {
      return JSON.stringify(writeJson(desc, message, types));
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new CollectorError(
        "INTERNAL",
        `the answer has no JSON form (${reason}); ask for it in binary`,
        { cause: error },
      );
    }
  }
}

const namespaceField = "namespace";

/** The namespace that a request names, if it names one: in its own field or in its references'. */
function namespaceIn(desc: DescMessage, json: JsonTree): string | undefined {
  if (!isJsonObject(json)) return undefined;
  if (desc.fields.some(isNamespaceField)) return text(json[namespaceField]);
  for (const field of desc.fields) {
    if (field.fieldKind !== "message" || !field.message.fields.some(isNamespaceField)) continue;
    const holder = json[field.jsonName] ?? json[field.name];
    const namespace = isJsonObject(holder) ? text(holder[namespaceField]) : undefined;
    if (namespace !== undefined) return namespace;
  }
  return undefined;
}

function isNamespaceField(field: DescField): boolean {
  return (
    field.name === namespaceField &&
    field.fieldKind === "scalar" &&
    field.scalar === ScalarType.STRING
  );
}

function text(value: JsonTree | undefined): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}
