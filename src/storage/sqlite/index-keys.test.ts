import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { compileIndexKeys, type IndexKey } from "./index-keys.ts";

function keysAt(path: string, document: string): readonly IndexKey[] | undefined {
  return compileIndexKeys([path])(document)[0];
}

/** The same by way of `JSON.parse`, exact for what a number can hold. */
function slowKeysAt(path: readonly string[], value: unknown): IndexKey[] {
  if (Array.isArray(value)) return value.flatMap((item) => slowKeysAt(path, item));
  const [name, ...rest] = path;
  if (name !== undefined) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, name)) return [];
    return slowKeysAt(rest, Object.entries(value).find(([key]) => key === name)?.[1]);
  }
  if (typeof value === "string") return [value];
  if (typeof value === "boolean") return [value ? 1n : 0n];
  if (typeof value === "number") return [asWritten(value)];
  return [];
}

/** A number as its digits in the document say: exact if they are those of a 64-bit integer. */
function asWritten(value: number): IndexKey {
  const text = JSON.stringify(value);
  if (!/^-?\d+$/.test(text)) return value;
  const integer = BigInt(text);
  return BigInt.asIntN(64, integer) === integer ? integer : value;
}

describe("compileIndexKeys", () => {
  it("keeps integers exact up to the ends of 64 bits", () => {
    const document =
      '{"min":-9223372036854775808,"max":9223372036854775807,"past":9007199254740993,"over":18446744073709551615}';
    assert.deepEqual(keysAt("min", document), [-9223372036854775808n]);
    assert.deepEqual(keysAt("max", document), [9223372036854775807n]);
    assert.deepEqual(keysAt("past", document), [9007199254740993n]);
    assert.deepEqual(keysAt("over", document), [18446744073709552000]);
  });

  it("follows paths through objects and arrays, and gives one value for each item", () => {
    const document =
      '{ "a" : {"b":[1, "two",{"c":3},[4,null]]}, "items":[{"n":1},{"n":[2,3]},{}] }';
    assert.deepEqual(keysAt("a.b", document), [1n, "two", 4n]);
    assert.deepEqual(keysAt("a.b.c", document), [3n]);
    assert.deepEqual(keysAt("items.n", document), [1n, 2n, 3n]);
    assert.deepEqual(keysAt("a", document), []);
    assert.deepEqual(keysAt("a.missing", document), []);
  });

  it("reads several paths at once, even one under another", () => {
    const read = compileIndexKeys(["a", "a.b", "c", "a"]);
    assert.deepEqual(read('{"a":[{"b":true},5],"c":"x\\"y\\u00e9"}'), [[5n], [1n], ['x"yé'], [5n]]);
  });

  it("says what JSON.parse says, of any document", () => {
    // No name ends in a backslash: after one, V8 13.6 reads `\"` in the next object's name as its end.
    const names = fc.constantFrom("a", "b", "", '"', "\\n", "é", "__proto__", "toString");
    const { tree } = fc.letrec((tie) => ({
      tree: fc.oneof(
        { depthSize: "small" },
        fc.oneof(fc.string(), fc.double({ noNaN: true, noDefaultInfinity: true }), fc.boolean()),
        fc.maxSafeInteger(),
        fc.constant(null),
        fc.array(tie("tree"), { maxLength: 4 }),
        fc.array(fc.tuple(names, tie("tree")), { maxLength: 4 }).map(Object.fromEntries),
      ),
    }));
    const property = fc.property(
      tree,
      fc.array(names, { minLength: 1, maxLength: 3 }),
      fc.constantFrom(undefined, 2),
      (value, path, indent) => {
        const document = JSON.stringify({ a: value, b: 1 }, undefined, indent);
        const parsed: unknown = JSON.parse(document);
        assert.deepEqual(keysAt(path.join("."), document), slowKeysAt(path, parsed));
      },
    );
    fc.assert(property, { numRuns: 1000 });
  });
});
