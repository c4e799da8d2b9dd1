import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  type DescField,
  type DescMessage,
  fromBinary,
  fromJson,
  type JsonValue,
  type Message,
  type Registry,
  ScalarType,
  toBinary,
} from "@bufbuild/protobuf";
import { type ReflectMessage, reflect } from "@bufbuild/protobuf/reflect";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { type Any, FeatureSet_FieldPresence, isWrapperDesc } from "@bufbuild/protobuf/wkt";
import * as fc from "fast-check";
import { defaultLimits, type Limits } from "../../lib/limits.ts";
import type { StoreShape } from "../../storage/store-layout.ts";
import { damagedBytes, wireBytes } from "../testing/arbitraries.ts";
import { compileProtos, kindsProto, legacyProto } from "../testing/compile.ts";
import { isRegular } from "./derive.ts";
import { DerivePlan } from "./derive-plan.ts";
import { bytesForm, durationForm, numberForm, timestampForm, uint64Operand } from "./forms.ts";

const types = compileProtos({ "kinds.proto": kindsProto, "legacy.proto": legacyProto });
const kinds = messageOf("kinds.v1.Kinds");
const legacy = messageOf("legacy.v1.Legacy");

function messageOf(name: string): DescMessage {
  const desc = types.getMessage(name);
  assert.ok(desc !== undefined);
  return desc;
}

/** All text as one, no vectors: what a store wants if nothing else is said. */
const plainShape: StoreShape = {
  version: 1n,
  texts: [
    { definition: { tokenizer: "words", fields: [{ name: "", weight: 1 }] }, state: "ready" },
  ],
  vectors: [],
};

function derive(
  desc: DescMessage,
  bytes: Uint8Array,
  registry: Registry,
  limits: Pick<Limits, "recordTextCharsMax">,
): { document: string; texts: readonly string[] } {
  const plan = new DerivePlan({ desc, types: registry, shape: plainShape, limits });
  const { document, texts } = plan.derive(bytes, { writtenUs: 0n });
  return { document, texts: texts[0] ?? [] };
}

function fromJsonKinds(json: JsonValue): Uint8Array {
  return toBinary(kinds, fromJson(kinds, json, { registry: types }));
}

/** The document of a message by reflection over what protobuf-es read: slow, and another way. */
function expectedDocument(message: ReflectMessage, texts: string[], depth = 1): string {
  const wellKnown = expectedWellKnown(message, texts, depth);
  if (wellKnown !== undefined) return wellKnown;
  return `{${expectedMembers(message, texts, depth).join(",")}}`;
}

function expectedMembers(message: ReflectMessage, texts: string[], depth: number): string[] {
  const members: string[] = [];
  for (const field of message.desc.fields) {
    const json = expectedField(message, field, texts, depth);
    if (json !== undefined) members.push(`${JSON.stringify(field.name)}:${json}`);
  }
  return members;
}

function expectedField(
  message: ReflectMessage,
  field: DescField,
  texts: string[],
  depth: number,
): string | undefined {
  if (field.fieldKind === "list") {
    const items = [...message.get(field)].map((item) => expectedItem(field, item, texts, depth));
    return items.length === 0 ? undefined : `[${items.join(",")}]`;
  }
  if (field.fieldKind === "map") {
    const entries = [...message.get(field)].map(
      ([key, item]) => `${JSON.stringify(String(key))}:${expectedItem(field, item, texts, depth)}`,
    );
    return entries.length === 0 ? undefined : `{${entries.join(",")}}`;
  }
  const isImplicit =
    field.fieldKind !== "message" && field.presence === FeatureSet_FieldPresence.IMPLICIT;
  if (!isImplicit && !message.isSet(field)) return undefined;
  return expectedItem(field, message.get(field), texts, depth);
}

function expectedItem(field: DescField, value: unknown, texts: string[], depth: number): string {
  if (field.message !== undefined) {
    return expectedDocument(value as ReflectMessage, texts, depth + 1);
  }
  if (field.enum !== undefined) return String(value);
  return expectedScalar(field.scalar, value, texts);
}

function expectedScalar(type: ScalarType, value: unknown, texts: string[]): string {
  if (type === ScalarType.STRING) {
    if (value !== "") texts.push(value as string);
    return JSON.stringify(value);
  }
  if (value instanceof Uint8Array) return `"${bytesForm(value)}"`;
  if (type === ScalarType.UINT64 || type === ScalarType.FIXED64) {
    return String(uint64Operand(value as bigint));
  }
  return typeof value === "number" ? numberForm(value) : String(value);
}

function expectedWellKnown(
  message: ReflectMessage,
  texts: string[],
  depth: number,
): string | undefined {
  const { desc } = message;
  const raw = (name: string): unknown => {
    const field = desc.fields.find((candidate) => candidate.name === name);
    return field === undefined ? undefined : message.get(field);
  };
  if (isWrapperDesc(desc)) {
    const field = desc.fields[0];
    assert.ok(field?.scalar !== undefined);
    return expectedScalar(field.scalar, message.get(field), texts);
  }
  switch (desc.typeName) {
    case "google.protobuf.Timestamp": {
      const form = timestampForm(Number(raw("seconds")), raw("nanos") as number);
      return form === undefined ? "null" : `"${form}"`;
    }
    case "google.protobuf.Duration":
      return String(durationForm(raw("seconds") as bigint, raw("nanos") as number));
    case "google.protobuf.Struct":
      return `{${expectedMembers(message, texts, depth)
        .join("")
        .replace(/^"fields":\{/, "")
        .replace(/\}$/, "")}}`;
    case "google.protobuf.ListValue":
      return (
        expectedMembers(message, texts, depth)
          .join("")
          .replace(/^"values":/, "") || "[]"
      );
    case "google.protobuf.Value": {
      const set = desc.fields.find((field) => message.isSet(field));
      if (set === undefined || set.name === "null_value") return "null";
      return expectedItem(set, message.get(set), texts, depth);
    }
    case "google.protobuf.Any":
      return expectedAny(message.message as Any, texts, depth);
    default:
      return undefined;
  }
}

function expectedAny(any: Any, texts: string[], depth: number): string {
  if (any.typeUrl === "" && any.value.length === 0) return "{}";
  const head = `"@type":${JSON.stringify(any.typeUrl)}`;
  const desc = types.getMessage(any.typeUrl.slice(any.typeUrl.lastIndexOf("/") + 1));
  let content: Message | undefined;
  try {
    content = desc === undefined ? undefined : fromBinary(desc, any.value);
  } catch {
    content = undefined;
  }
  if (desc === undefined || content === undefined) {
    return `{${head},"value":"${bytesForm(any.value)}"}`;
  }
  const inner = reflect(desc, content);
  const wellKnown = expectedWellKnown(inner, texts, depth + 1);
  if (wellKnown !== undefined) return `{${head},"value":${wellKnown}}`;
  return `{${[head, ...expectedMembers(inner, texts, depth + 1)].join(",")}}`;
}

function assertAgrees(desc: DescMessage, bytes: Uint8Array): boolean {
  let message: Message;
  try {
    message = fromBinary(desc, bytes);
  } catch {
    assert.throws(() => derive(desc, bytes, types, defaultLimits), { reason: "ITEM_UNPARSABLE" });
    return false;
  }
  const texts: string[] = [];
  const expected = expectedDocument(reflect(desc, message), texts);
  const derived = derive(desc, bytes, types, defaultLimits);
  assert.deepEqual(JSON.parse(derived.document), JSON.parse(expected));
  assert.deepEqual(derived.texts[0]?.split("\n").sort(), texts.join("\n").split("\n").sort());
  return true;
}

describe("derive", () => {
  it("writes each type in the form that filters and indexes read", () => {
    const bytes = fromJsonKinds({
      doubleValue: "NaN",
      floatValue: "-Infinity",
      int64Value: "-9223372036854775808",
      uint64Value: "18446744073709551615",
      sint64Value: "9223372036854775807",
      stringValue: 'a "quoted" ü\n\u0000',
      bytesValue: "AP8=",
      color: "NEGATIVE",
      maybeInt: 0,
      tags: ["b", "a"],
      labels: { __proto__x: "p", z: "y" },
      byLong: { "18446744073709551615": "AQ==" },
      choiceNumber: "5",
      created: "1969-12-31T23:59:59.5Z",
      length: "-1.5s",
      extra: { a: [1, "two", null, { b: true }] },
      value: "v",
      list: [],
      any: { "@type": "type.googleapis.com/kinds.v1.Kinds", tags: ["inner"], boxedLong: "3" },
      boxedLong: "9007199254740993",
      mask: "int32Value,child.tags",
    });
    const { document, texts } = derive(kinds, bytes, types, defaultLimits);
    for (const part of [
      '"double_value":null',
      '"float_value":-9e999',
      '"int32_value":0',
      '"int64_value":-9223372036854775808',
      '"uint64_value":9223372036854775807',
      '"fixed64_value":-9223372036854775808',
      '"sint64_value":9223372036854775807',
      '"string_value":"a \\"quoted\\" ü\\n\\u0000"',
      '"bytes_value":"00ff"',
      '"color":-1',
      '"maybe_int":0',
      '"tags":["b","a"]',
      '"by_long":{"18446744073709551615":"01"}',
      '"choice_number":5',
      '"created":"1969-12-31T23:59:59.500000000Z"',
      '"length":-1500000000',
      '"extra":{"a":[1,"two",null,{"b":true}]}',
      '"value":"v"',
      '"list":[]',
      '"@type":"type.googleapis.com/kinds.v1.Kinds"',
      '"boxed_long":9007199254740993',
      '"mask":{"paths":["int32_value","child.tags"]}',
    ]) {
      assert.ok(document.includes(part), `${part} in ${document}`);
    }
    assert.ok(!document.includes('"maybe_text"'));
    assert.ok(!document.includes('"children"'));
    assert.ok(!document.includes('"choice_text"'));
    assert.deepEqual(texts, [
      'a "quoted" ü\n\u0000\nb\na\np\ny\ntwo\nv\ninner\nint32_value\nchild.tags',
    ]);
  });

  it("keeps the order of the values in the forms that are not the values themselves", () => {
    const long = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
    fc.assert(
      fc.property(long, long, (a, b) => {
        assert.equal(a < b, uint64Operand(a) < uint64Operand(b));
      }),
    );
    const time = fc.tuple(
      fc.integer({ min: -62135596800, max: 253402300799 }),
      fc.integer({ min: 0, max: 999_999_999 }),
    );
    fc.assert(
      fc.property(time, time, (a, b) => {
        const before = a[0] < b[0] || (a[0] === b[0] && a[1] < b[1]);
        assert.equal(before, (timestampForm(...a) ?? "") < (timestampForm(...b) ?? ""));
      }),
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 9 }), fc.uint8Array({ maxLength: 9 }), (a, b) => {
        assert.equal(Buffer.compare(a, b) < 0, bytesForm(a) < bytesForm(b));
      }),
    );
  });

  it("says where the bytes stop to make sense, and as what", () => {
    const bytes = Uint8Array.from([0x8a, 0x01, 0x04, 0x72, 0x05, 0x61, 0x62]);
    assert.throws(() => derive(kinds, bytes, types, defaultLimits), {
      reason: "ITEM_UNPARSABLE",
      message:
        /does not parse as kinds\.v1\.Kinds: .* at byte 5, in or after field `child\.string_value`/,
      subject: { type: "kinds.v1.Kinds", offset: "5", path: "child.string_value" },
    });
  });

  it("stops at a depth of 100, also through Any, and leaves deeper content closed", () => {
    let bytes = new Uint8Array(0);
    for (let depth = 0; depth < 100; depth += 1) {
      bytes = new BinaryWriter().tag(17, WireType.LengthDelimited).bytes(bytes).finish();
    }
    assert.throws(() => derive(kinds, bytes, types, defaultLimits), /nested deeper than 100/);

    let any = new Uint8Array(0);
    for (let depth = 0; depth < 1000; depth += 1) {
      const inner = new BinaryWriter()
        .tag(1, WireType.LengthDelimited)
        .string("x/google.protobuf.Any")
        .tag(2, WireType.LengthDelimited)
        .bytes(any);
      any = inner.finish();
    }
    const outer = new BinaryWriter().tag(55, WireType.LengthDelimited).bytes(any).finish();
    const { document } = derive(kinds, outer, types, defaultLimits);
    assert.ok(document.length < 20_000, `${document.length} characters`);
  });

  it("cuts the text at its limit without breaking a character", () => {
    const bytes = fromJsonKinds({ tags: ["abc", "d😀", "never"] });
    const limited = derive(kinds, bytes, types, { recordTextCharsMax: 6 });
    assert.deepEqual(limited.texts, ["abc\nd"]);
    assert.ok(limited.document.includes("never"));
  });

  it("makes an object of a type whose form is none", () => {
    const value = messageOf("google.protobuf.Value");
    const bytes = toBinary(value, fromJson(value, "plain", { registry: types }));
    assert.equal(derive(value, bytes, types, defaultLimits).document, '{"value":"plain"}');
  });

  for (const desc of [kinds, legacy]) {
    it(`reads what any encoder may write of ${desc.typeName} as protobuf-es does`, () => {
      fc.assert(
        fc.property(wireBytes(desc, types), (bytes) => {
          assert.ok(assertAgrees(desc, bytes));
          assert.ok(isRegular(desc, bytes));
        }),
        { numRuns: 1500 },
      );
    });

    it(`accepts damaged bytes of ${desc.typeName} exactly if protobuf-es does`, () => {
      let accepted = 0;
      fc.assert(
        fc.property(damagedBytes(desc, types), (bytes) => {
          if (assertAgrees(desc, bytes)) accepted += 1;
        }),
        { numRuns: 3000 },
      );
      assert.ok(accepted > 100, `${accepted} of the damaged messages were accepted`);
    });
  }

  it("accepts random bytes exactly if protobuf-es does", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 24 }), (bytes) => void assertAgrees(kinds, bytes)),
      { numRuns: 3000 },
    );
  });
});
