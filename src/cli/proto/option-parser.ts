import type { Position } from "./problem.ts";
import type { TokenReader } from "./token-reader.ts";

/** What an option is set to, before its type is known. */
export type OptionValue = { readonly position: Position } & (
  | { readonly kind: "integer"; readonly value: bigint }
  | { readonly kind: "float"; readonly value: number }
  | { readonly kind: "string"; readonly value: Uint8Array }
  | { readonly kind: "word"; readonly text: string }
  | { readonly kind: "message"; readonly fields: readonly ValueField[] }
  | { readonly kind: "list"; readonly values: readonly OptionValue[] }
);

/** One field of a value in text format, as in `{ name: "x" }`. */
export interface ValueField {
  readonly name: string;
  /** `any`: the name is that of the type packed into the Any, its prefix apart. */
  readonly form: "field" | "extension" | "any";
  readonly anyPrefix: string;
  readonly position: Position;
  readonly value: OptionValue;
}

/** One part of an option's name: `foo`, or `(foo.bar)` for an extension. */
export interface OptionNamePart {
  readonly name: string;
  readonly extension: boolean;
  readonly position: Position;
}

/** `name = value`, as in an `option` statement or between brackets. */
export interface OptionSetting {
  readonly name: readonly OptionNamePart[];
  readonly value: OptionValue;
}

/** Reads `name = value`. */
export function parseOptionSetting(reader: TokenReader): OptionSetting {
  const name = [parseNamePart(reader)];
  while (reader.takes(".")) name.push(parseNamePart(reader));
  reader.expect("=", "the name of an option");
  return { name, value: parseOptionValue(reader) };
}

function parseNamePart(reader: TokenReader): OptionNamePart {
  const { line, column } = reader.peek();
  if (!reader.takes("(")) {
    const name = reader.word("the name of an option").text;
    return { name, extension: false, position: { line, column } };
  }
  const name = reader.dottedName("the name of an extension", true);
  reader.expect(")");
  return { name, extension: true, position: { line, column } };
}

function parseOptionValue(reader: TokenReader): OptionValue {
  if (!reader.sees("{")) return parseScalar(reader, false);
  return parseMessageValue(reader);
}

function parseMessageValue(reader: TokenReader): OptionValue {
  const { line, column } = reader.peek();
  const close = reader.next().text === "<" ? ">" : "}";
  const fields: ValueField[] = [];
  reader.nested(() => {
    while (!reader.takes(close)) {
      fields.push(parseValueField(reader));
      if (!reader.takes(",")) reader.takes(";");
    }
  });
  return { kind: "message", fields, position: { line, column } };
}

function parseValueField(reader: TokenReader): ValueField {
  const { line, column } = reader.peek();
  const position = { line, column };
  let form: ValueField["form"] = "field";
  let name: string;
  let anyPrefix = "";
  if (reader.takes("[")) {
    form = "extension";
    name = reader.dottedName("the name of an extension or type");
    while (reader.takes("/")) {
      form = "any";
      anyPrefix = anyPrefix === "" ? name : `${anyPrefix}/${name}`;
      name = reader.dottedName("the name of a type");
    }
    reader.expect("]");
  } else {
    name = reader.word("the name of a field").text;
  }
  const colon = reader.takes(":");
  if (!colon && !reader.sees("{") && !reader.sees("<") && !reader.sees("[")) {
    throw reader.expected(`\`:\` after \`${name}\``);
  }
  return { name, form, anyPrefix, position, value: parseInnerValue(reader) };
}

function parseInnerValue(reader: TokenReader): OptionValue {
  if (reader.sees("{") || reader.sees("<")) return parseMessageValue(reader);
  const { line, column } = reader.peek();
  if (!reader.takes("[")) return parseScalar(reader, true);
  const values: OptionValue[] = [];
  reader.nested(() => {
    if (reader.takes("]")) return;
    do values.push(parseInnerValue(reader));
    while (reader.takes(","));
    reader.expect("]");
  });
  return { kind: "list", values, position: { line, column } };
}

function parseScalar(reader: TokenReader, inner: boolean): OptionValue {
  const { line, column } = reader.peek();
  const position = { line, column };
  const negative = reader.takes("-");
  const token = reader.peek();
  switch (token.kind) {
    case "integer":
      reader.next();
      // Of integers only a float can be minus zero.
      if (negative && token.value === 0n) return { kind: "float", value: -0, position };
      return { kind: "integer", value: negative ? -token.value : token.value, position };
    case "float":
      reader.next();
      return { kind: "float", value: negative ? -token.value : token.value, position };
    case "word": {
      reader.next();
      if (!negative) return { kind: "word", text: token.text, position };
      const text = inner ? token.text.toLowerCase() : token.text;
      if (text === "inf" || text === "infinity") {
        return { kind: "float", value: Number.NEGATIVE_INFINITY, position };
      }
      if (text === "nan") return { kind: "float", value: Number.NaN, position };
      throw reader.error(`expects a number after \`-\`, not \`${token.text}\``, token);
    }
    case "string":
      if (negative) throw reader.expected("a number after `-`");
      return { kind: "string", value: reader.bytes("a string"), position };
    case "sign":
    case "end":
      break;
  }
  throw reader.expected("a value");
}
