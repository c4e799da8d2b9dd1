import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  create,
  type DescField,
  type DescMessage,
  equals,
  fromBinary,
  fromJson,
  type JsonValue,
  type Message,
  toBinary,
  toJson,
} from "@bufbuild/protobuf";
import { type ReflectMessage, reflect } from "@bufbuild/protobuf/reflect";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import * as fc from "fast-check";
import { CollectorError } from "../../errors.ts";
import { defaultLimits } from "../../lib/limits.ts";
import { isRegular } from "../derive/derive.ts";
import { DerivePlan } from "../derive/derive-plan.ts";
import { damagedBytes, wireBytes } from "../testing/arbitraries.ts";
import { compileProtos, kindsProto, legacyProto } from "../testing/compile.ts";
import { applyMask } from "./apply-mask.ts";
import { compileMask, type MaskNode } from "./update-mask.ts";

const types = compileProtos({ "kinds.proto": kindsProto, "legacy.proto": legacyProto });
const kinds = messageOf("kinds.v1.Kinds");
const legacy = messageOf("legacy.v1.Legacy");

function messageOf(name: string): DescMessage {
  const desc = types.getMessage(name);
  assert.ok(desc !== undefined);
  return desc;
}

function encode(json: JsonValue): Uint8Array {
  return toBinary(kinds, fromJson(kinds, json, { registry: types }));
}

function merged(paths: string[], stored: JsonValue, item: JsonValue): JsonValue {
  const mask = compileMask(kinds, paths);
  assert.ok(mask !== undefined);
  const bytes = applyMask(kinds, mask, encode(stored), encode(item));
  return toJson(kinds, fromBinary(kinds, bytes), { registry: types });
}

/** The same by reflection over decoded messages: simple, and another way. */
function mergeByReflection(mask: MaskNode, stored: ReflectMessage, item: ReflectMessage): void {
  for (const { field, whole, inside, keys } of mask.fields.values()) {
    if (whole) {
      if (item.isSet(field)) stored.set(field, item.get(field));
      else stored.clear(field);
    } else if (field.fieldKind === "map") {
      mergeKeys(field, keys, stored, item);
    } else if (field.fieldKind === "message" && inside !== undefined) {
      if (!stored.isSet(field) && !item.isSet(field)) continue;
      const target = stored.isSet(field) ? stored.get(field) : reflect(field.message);
      mergeByReflection(
        inside,
        target,
        item.isSet(field) ? item.get(field) : reflect(field.message),
      );
      if (stored.isSet(field) || !isEmpty(target)) stored.set(field, target);
    }
  }
}

function mergeKeys(
  field: DescField & { fieldKind: "map" },
  keys: ReadonlyMap<string, MaskNode | undefined>,
  stored: ReflectMessage,
  item: ReflectMessage,
): void {
  const before = stored.get(field);
  const after = item.get(field);
  for (const [name, inside] of keys) {
    const named = [...before.keys(), ...after.keys()].find((key) => String(key) === name);
    if (named === undefined) continue;
    const value = after.get(named);
    if (inside === undefined || field.message === undefined) {
      if (value === undefined) before.delete(named);
      else before.set(named, value);
    } else {
      const old = before.get(named) as ReflectMessage | undefined;
      const target = old ?? reflect(field.message);
      mergeByReflection(inside, target, (value as ReflectMessage) ?? reflect(field.message));
      if (old !== undefined || !isEmpty(target)) before.set(named, target);
    }
  }
}

function isEmpty(message: ReflectMessage): boolean {
  return equals(message.desc, message.message, create(message.desc), {
    unknown: true,
    registry: types,
  });
}

/** Undefined if the bytes are such that only protobuf-es reads them, and it cannot write them. */
function applyOrRefuse(
  desc: DescMessage,
  mask: MaskNode,
  stored: Uint8Array,
  item: Uint8Array,
): Uint8Array | undefined {
  try {
    return applyMask(desc, mask, stored, item);
  } catch (error) {
    assert.ok(error instanceof CollectorError && error.reason === "ITEM_UNPARSABLE");
    assert.ok(!isRegular(desc, stored) || !isRegular(desc, item));
    return undefined;
  }
}

function assertSame(desc: DescMessage, actual: Message, expected: Message): void {
  // protobuf-es forgets values that a closed enum does not name if there are other unknown fields.
  if (equals(desc, actual, expected, { unknown: desc !== legacy, registry: types })) return;
  // NaN is not equal to itself; what a document makes of it is.
  const shape = { version: 1n, texts: [], vectors: [] };
  const plan = new DerivePlan({ desc, types, shape, limits: defaultLimits });
  const [one, other] = [actual, expected].map((message) =>
    JSON.parse(plan.derive(toBinary(desc, message), { writtenUs: 0n }).document),
  );
  assert.deepEqual(one, other);
}

/** As an encoder writes it: no defaults on the wire. Without its required fields it cannot. */
function canonical(desc: DescMessage, bytes: Uint8Array): Uint8Array {
  try {
    return toBinary(desc, fromBinary(desc, bytes));
  } catch {
    return bytes;
  }
}

/** Random paths that exist: into messages, and to keys of maps. */
function paths(desc: DescMessage, depth: number): fc.Arbitrary<string> {
  return fc.constantFrom(...desc.fields).chain((field) => {
    if (depth === 0 || field.fieldKind === "list") return fc.constant(field.name);
    if (field.fieldKind === "map") {
      const key = fc.constantFrom("", "0", "1", "-1", "true", "false", "a").map(quoteKey);
      const value =
        field.message === undefined || field.message.typeName.startsWith("google.")
          ? key
          : fc.oneof(key, below(key, paths(field.message, depth - 1)));
      return fc.oneof(fc.constant(field.name), below(fc.constant(field.name), value));
    }
    if (field.message === undefined || field.message.typeName.startsWith("google.")) {
      return fc.constant(field.name);
    }
    return fc.oneof(
      fc.constant(field.name),
      below(fc.constant(field.name), paths(field.message, depth - 1)),
    );
  });
}

function below(outer: fc.Arbitrary<string>, inner: fc.Arbitrary<string>): fc.Arbitrary<string> {
  return fc.tuple(outer, inner).map(([first, rest]) => `${first}.${rest}`);
}

function quoteKey(key: string): string {
  return key === "" ? "x" : `\`${key}\``;
}

describe("applyMask", () => {
  for (const desc of [kinds, legacy]) {
    it(`does with the bytes of ${desc.typeName} what reflection does with the message`, () => {
      fc.assert(
        fc.property(
          fc.oneof(wireBytes(desc, types), damagedBytes(desc, types)),
          wireBytes(desc, types),
          fc.array(paths(desc, 3), { minLength: 1, maxLength: 5 }),
          (stored, source, maskPaths) => {
            try {
              fromBinary(desc, stored);
            } catch {
              return;
            }
            const item = canonical(desc, source);
            const mask = compileMask(desc, maskPaths);
            assert.ok(mask !== undefined);
            const expected = reflect(desc, fromBinary(desc, stored));
            mergeByReflection(mask, expected, reflect(desc, fromBinary(desc, item)));
            const actual = applyOrRefuse(desc, mask, stored, item);
            if (actual !== undefined) assertSame(desc, fromBinary(desc, actual), expected.message);
          },
        ),
        { numRuns: 1500 },
      );
    });
  }

  it("takes what is set, clears what is not, and leaves the rest", () => {
    assert.deepEqual(
      merged(
        ["stringValue", "int32_value", "child.tags", "labels.a", "labels.`b.c`"],
        {
          stringValue: "old",
          int32Value: 5,
          boolValue: true,
          child: { tags: ["x"], int32Value: 1 },
          labels: { a: "1", "b.c": "2", d: "3" },
        },
        { stringValue: "new", boolValue: false, child: { tags: ["y", "z"] }, labels: { a: "9" } },
      ),
      {
        stringValue: "new",
        boolValue: true,
        child: { tags: ["y", "z"], int32Value: 1 },
        labels: { a: "9", d: "3" },
      },
    );
  });

  it("switches the member of a oneof, and clears only the member that is named", () => {
    assert.deepEqual(merged(["choice_number"], { choiceText: "a" }, { choiceNumber: "1" }), {
      choiceNumber: "1",
    });
    assert.deepEqual(merged(["choice_number"], { choiceText: "a" }, {}), { choiceText: "a" });
    assert.deepEqual(merged(["choice_text"], { choiceText: "a" }, { choiceNumber: "1" }), {});
    assert.deepEqual(
      merged(["choice_child.tags"], { choiceText: "a" }, { choiceChild: { tags: ["t"] } }),
      { choiceChild: { tags: ["t"] } },
    );
  });

  it("reaches into a Struct by its keys", () => {
    assert.deepEqual(
      merged(
        ["extra.a.b", "extra.gone"],
        { extra: { a: { b: 1, c: 2 }, gone: 1, d: 3 } },
        {
          extra: { a: { b: "new", c: "no" } },
        },
      ),
      { extra: { a: { b: "new", c: 2 }, d: 3 } },
    );
  });

  it("refuses to change in parts what cannot be written anew as every parser reads it", () => {
    // A closed enum under the wire type of a double: protobuf-es reads a varint, and keeps it unknown.
    const stored = Uint8Array.from([10, 1, 97, 25, ...Array<number>(9).fill(255), 1]);
    const mask = compileMask(legacy, ["name"]);
    assert.ok(mask !== undefined);
    assert.throws(() => applyMask(legacy, mask, stored, new Uint8Array(0)), {
      reason: "ITEM_UNPARSABLE",
    });
  });

  it("keeps unknown fields, at every level, and the bytes of what it does not touch", () => {
    const unknown = new BinaryWriter().tag(999, WireType.LengthDelimited).string("kept").finish();
    const child = Buffer.concat([encode({ int32Value: 7, tags: ["x"] }), unknown]);
    const stored = Buffer.concat([
      encode({ doubleValue: 1 }),
      new BinaryWriter().tag(17, WireType.LengthDelimited).bytes(child).finish(),
      unknown,
    ]);
    const mask = compileMask(kinds, ["child.tags", "float_value"]);
    assert.ok(mask !== undefined);
    const bytes = Buffer.from(applyMask(kinds, mask, stored, encode({ child: { tags: ["y"] } })));
    assert.equal(bytes.toString("latin1").split("kept").length, 3);
    assert.deepEqual(toJson(kinds, fromBinary(kinds, bytes)), {
      doubleValue: 1,
      child: { int32Value: 7, tags: ["y"] },
    });
  });

  it("refuses paths that do not exist, naming the path and what is near", () => {
    const cases: [string, RegExp][] = [
      ["strng_value", /no field "strng_value"; did you mean string_value/],
      ["child.strng_value", /kinds\.v1\.Kinds has no field/],
      ["tags.0", /repeated/],
      ["int32_value.x", /no fields inside/],
      ["", /no dotted path/],
      ["a..b", /no dotted path/],
      ["child.", /ends in a dot/],
      ["__proto__", /no field/],
      ["constructor", /no field/],
      ["x".repeat(2000), /2000 characters/],
    ];
    for (const [path, message] of cases) {
      assert.throws(() => compileMask(kinds, [path]), { reason: "FIELD_UNKNOWN", message });
    }
    assert.equal(compileMask(kinds, []), undefined);
    assert.equal(compileMask(kinds, ["*"]), undefined);
  });
});
