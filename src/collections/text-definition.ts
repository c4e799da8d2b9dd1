import { create, type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { invalidField } from "../errors.ts";
import {
  type Collection,
  type TextSearch,
  TextSearch_Tokenizer,
  TextSearchSchema,
} from "../gen/collector/collection_pb.ts";
import { quote } from "../registry/names.ts";
import type { TextIndexDefinition, Tokenizer } from "../storage/store-layout.ts";
import { definitionPath, suggestFields } from "./value-paths.ts";

/** Fields whose text a collection can tell apart. */
export const textFieldsMax = 16;
const weightMin = 0.01;
const weightMax = 100;

const tokenizers: { readonly [T in TextSearch_Tokenizer]: Tokenizer } = {
  [TextSearch_Tokenizer.UNSPECIFIED]: "words",
  [TextSearch_Tokenizer.WORDS]: "words",
  [TextSearch_Tokenizer.ENGLISH]: "english",
  [TextSearch_Tokenizer.TRIGRAM]: "trigram",
  [TextSearch_Tokenizer.EXACT_WORDS]: "exact-words",
};

/**
 * Checks what text search shall look at.
 *
 * @param argument the request's field that holds it, as in `collection.text_search`.
 * @returns the same with proto names, and with what was left to the server filled in.
 * @throws {CollectorError} ARGUMENT_INVALID, ARGUMENT_MISSING, FIELD_UNKNOWN
 */
export function checkTextSearch(
  desc: DescMessage,
  given: TextSearch | undefined,
  argument: string,
): TextSearch | undefined {
  if (given === undefined) return undefined;
  const { fields, disabled } = given;
  if (fields.length > textFieldsMax) {
    const description = `has ${fields.length} fields, the limit is ${textFieldsMax}`;
    throw invalidField("ARGUMENT_INVALID", `${argument}.fields`, description);
  }
  const paths = new Map<string, number>();
  return create(TextSearchSchema, {
    tokenizer: checkTokenizer(given.tokenizer, `${argument}.tokenizer`),
    disabled,
    fields: fields.map(({ path, weight }, index) => {
      const field = `${argument}.fields[${index}]`;
      const resolved = textPath(desc, path, `${field}.path`);
      const earlier = paths.get(resolved);
      if (earlier !== undefined) {
        const description = `names ${quote(resolved)}, as fields[${earlier}] does`;
        throw invalidField("ARGUMENT_INVALID", `${field}.path`, description);
      }
      paths.set(resolved, index);
      return { path: resolved, weight: checkWeight(weight, `${field}.weight`) };
    }),
  });
}

function checkTokenizer(tokenizer: TextSearch_Tokenizer, argument: string): TextSearch_Tokenizer {
  if (tokenizer === TextSearch_Tokenizer.UNSPECIFIED) return TextSearch_Tokenizer.WORDS;
  if (Object.hasOwn(tokenizers, tokenizer)) return tokenizer;
  throw invalidField(
    "ARGUMENT_INVALID",
    argument,
    `is ${Number(tokenizer)}; send TOKENIZER_WORDS, TOKENIZER_ENGLISH, TOKENIZER_TRIGRAM or TOKENIZER_EXACT_WORDS`,
  );
}

function checkWeight(weight: number, argument: string): number {
  if (weight === 0) return 1;
  if (weight >= weightMin && weight <= weightMax) return weight;
  throw invalidField(
    "ARGUMENT_INVALID",
    argument,
    `is ${weight}; send ${weightMin} to ${weightMax}`,
  );
}

function textPath(desc: DescMessage, given: string, argument: string): string {
  if (given === "") {
    throw invalidField("ARGUMENT_MISSING", argument, "names no field; leave fields empty for all");
  }
  const { steps, path } = definitionPath(desc, given, argument);
  const last = steps.at(-1);
  if (last !== undefined && holdsText(last.field)) return path;
  const near = suggestFields(desc, given, ({ fullText }) => fullText);
  throw invalidField("ARGUMENT_INVALID", argument, `${quote(path)} holds no text${near}`);
}

/** A string, or a message that can have one somewhere in it. */
function holdsText(field: DescField): boolean {
  const seen = new Set<DescMessage>();
  const fields = [field];
  // A list is walked in the order of insertion, what is added meanwhile included.
  for (const { scalar, message } of fields) {
    if (scalar === ScalarType.STRING || message?.typeName === "google.protobuf.Any") return true;
    if (message === undefined || seen.has(message)) continue;
    seen.add(message);
    fields.push(...message.fields);
  }
  return false;
}

/** The text index that a definition asks for; undefined for none. */
export function textIndexOf({
  textSearch,
}: Pick<Collection, "textSearch">): TextIndexDefinition | undefined {
  if (textSearch?.disabled === true) return undefined;
  const fields = textSearch?.fields ?? [];
  return {
    tokenizer: tokenizers[textSearch?.tokenizer ?? TextSearch_Tokenizer.WORDS] ?? "words",
    fields:
      fields.length === 0
        ? [{ name: "", weight: 1 }]
        : fields.map(({ path, weight }) => ({ name: path, weight })),
  };
}

/** True if the two hold the same words in the same fields, whatever the weights. */
export function isSameText(
  one: TextIndexDefinition | undefined,
  other: TextIndexDefinition | undefined,
): boolean {
  if (one === undefined || other === undefined) return one === other;
  return (
    one.tokenizer === other.tokenizer &&
    one.fields.length === other.fields.length &&
    one.fields.every(({ name }, index) => name === other.fields[index]?.name)
  );
}

/** True if text search finds the text of a field. @param path in proto names */
export function isSearched(path: string, { textSearch }: Pick<Collection, "textSearch">): boolean {
  if (textSearch?.disabled === true) return false;
  const fields = textSearch?.fields ?? [];
  return fields.length === 0 || fields.some((field) => `${path}.`.startsWith(`${field.path}.`));
}
