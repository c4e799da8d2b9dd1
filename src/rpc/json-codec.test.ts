import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  create,
  type DescMessage,
  fromBinary,
  fromJson,
  type JsonValue,
  type Message,
  toBinary,
  toJson,
} from "@bufbuild/protobuf";
import { type Any, anyPack, StringValueSchema, TimestampSchema } from "@bufbuild/protobuf/wkt";
import * as fc from "fast-check";
import { FakeTypes, files, messageType, productType } from "../../test/support/http-fixture.ts";
import { CollectorError } from "../errors.ts";
import { JsonCodec } from "./json-codec.ts";
import { isJsonObject, type JsonTree, LongNumber, parseJson } from "./json-codec-text.ts";

const echoType = messageType("echo.v1.EchoRequest");
const shopUrl = "type.googleapis.com/shop.v1.Product";

function openCodec(): JsonCodec {
  const types = new FakeTypes();
  types.register("shop", files);
  return new JsonCodec({ types, jsonDepthMax: 64, defaultNamespace: "default" });
}

const codec = openCodec();

type Fields = Message & Record<string, unknown>;

function read(json: JsonValue | string, header?: string, desc: DescMessage = echoType): Fields {
  const text = typeof json === "string" ? json : JSON.stringify(json);
  return codec.read(desc, text, header);
}

/** Fails unless reading `json` is refused for `field`. */
function refuses(json: JsonValue | string, reason: string, field: string, message?: RegExp): void {
  assert.throws(
    () => read(json, "shop"),
    (error) => {
      assert.ok(error instanceof CollectorError, String(error));
      assert.equal(error.reason, reason, error.message);
      assert.equal(error.violations[0]?.field, field, error.message);
      if (message !== undefined) assert.match(error.message, message);
      return true;
    },
  );
}

function withoutLong(tree: JsonTree): unknown {
  if (tree instanceof LongNumber) return Number(tree.text);
  if (Array.isArray(tree)) return tree.map(withoutLong);
  if (!isJsonObject(tree)) return tree;
  return Object.fromEntries(Object.entries(tree).map(([key, item]) => [key, withoutLong(item)]));
}

describe("parseJson", () => {
  it("reads what JSON.parse reads, for any JSON value", () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 6 }), (value) => {
        const text = JSON.stringify(value);
        assert.deepEqual(withoutLong(parseJson(text, 64)), JSON.parse(text));
      }),
    );
  });

  it("refuses as JSON_INVALID what JSON.parse refuses, for any text", () => {
    const piece = fc.constantFrom(
      "{",
      "}",
      "[",
      "]",
      ",",
      ":",
      '"',
      "\\",
      "u",
      "d8",
      "1",
      "-",
      "k",
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 30 }), (pieces) => {
        const text = pieces.join("");
        let parses = true;
        try {
          JSON.parse(text);
        } catch {
          parses = false;
        }
        if (parses) return;
        assert.throws(() => parseJson(text, 64), { reason: "JSON_INVALID" });
      }),
    );
  });

  it("refuses nesting over the limit before it builds anything", () => {
    assert.throws(() => parseJson("[".repeat(100_000), 64), { reason: "JSON_INVALID" });
    assert.throws(() => parseJson('{"a":'.repeat(65), 64), /nested more than 64 deep/);
    assert.doesNotThrow(() => parseJson("[".repeat(64) + "]".repeat(64), 64));
    assert.doesNotThrow(() => parseJson(JSON.stringify("[".repeat(1000)), 64));
  });

  it("refuses a key given twice, however it is spelled", () => {
    assert.throws(() => parseJson('{"a":1,"a":2}', 64), /key "a" twice/);
    assert.throws(() => parseJson('{"a":1,"\\u0061":2}', 64), /key "a" twice/);
    assert.throws(() => parseJson('{"x":[{"b":{}, "b" : 1}]}', 64), /key "b" twice/);
    assert.doesNotThrow(() => parseJson('{"a":{"a":1},"b":[{"a":1},{"a":2}]}', 64));
  });

  it("keeps the digits of long integers and nothing else", () => {
    const tree = parseJson("[9223372036854775807, -9007199254740993, 1.5e30, 42]", 64);
    assert.ok(Array.isArray(tree));
    assert.deepEqual(tree.slice(0, 2), [
      new LongNumber("9223372036854775807"),
      new LongNumber("-9007199254740993"),
    ]);
    assert.deepEqual(tree.slice(2), [1.5e30, 42]);
  });

  it("refuses half a surrogate pair in a value or key and names the place", () => {
    assert.throws(
      () => parseJson('{"a":{"b":["x","\\ud800"]}}', 64),
      /^CollectorError: a\.b\[1\]:/,
    );
    assert.throws(() => parseJson('{"\\udc00":1}', 64), { reason: "JSON_INVALID" });
    assert.equal(parseJson('"\\ud83d\\ude00"', 64), "😀");
  });

  it("treats __proto__ as a key like any other", () => {
    const tree = parseJson('{"__proto__":{"admin":true}}', 64);
    assert.ok(isJsonObject(tree));
    assert.equal(tree["admin"], undefined);
    assert.deepEqual(Object.keys(tree), ["__proto__"]);
  });
});

describe("JsonCodec.read", () => {
  it("agrees with protobuf-es on a message with every kind of field", () => {
    const json = {
      text: "t",
      ref: { namespace: "shop", name: "n" },
      bigNumber: "-9223372036854775808",
      items: [{ "@type": shopUrl, title: "a" }, {}],
      items_by_name: { x: { "@type": shopUrl, priceCents: 7 }, __proto__x: {} },
      refs: { "-1": { name: "m" }, "7": {} },
      data: "AQID",
      count: 3,
      anything: { a: [1, null, { b: true }] },
      bigNumbers: ["18446744073709551615", 1],
      wrapped: "5",
      time: "2026-11-23T00:00:00Z",
      child: { child: { text: "deep" } },
      other: { name: "o" },
      labels: { k: "v" },
      ratio: "NaN",
    };
    const expected = fromJson(echoType, json, { registry: files });
    const message = read(json, "shop");
    assert.deepEqual(toBinary(echoType, message), toBinary(echoType, expected));
  });

  it("reads 64-bit integers exactly, from numbers and from strings", () => {
    const message = read('{"bigNumber":9223372036854775807,"bigNumbers":[18446744073709551615]}');
    assert.equal(message["bigNumber"], 9223372036854775807n);
    assert.deepEqual(message["bigNumbers"], [18446744073709551615n]);
    assert.equal(read('{"wrapped":-9223372036854775808}')["wrapped"], -9223372036854775808n);
    assert.equal(read('{"ratio":12345678901234567890}')["ratio"], 1.2345678901234567e19);
    refuses('{"count":12345678901234567890}', "JSON_INVALID", "count");
    refuses('{"bigNumber":9223372036854775808}', "JSON_INVALID", "big_number");
  });

  it("names the path of an unknown field and what it may have meant", () => {
    refuses({ txt: "x" }, "FIELD_UNKNOWN", "txt", /did you mean text/);
    refuses({ child: { refs: { "1": { nam: "x" } } } }, "FIELD_UNKNOWN", 'child.refs["1"].nam');
    refuses(
      { item: { "@type": shopUrl, titel: "x" } },
      "FIELD_UNKNOWN",
      "item.titel",
      /did you mean title/,
    );
    refuses({ items: [{}, { "@type": shopUrl, x: 1 }] }, "FIELD_UNKNOWN", "items[1].x");
    refuses('{"__proto__":{"text":"x"}}', "FIELD_UNKNOWN", "__proto__");
  });

  it("names the path of a value that does not fit", () => {
    refuses({ child: { count: "three" } }, "JSON_INVALID", "child.count");
    refuses({ refs: { one: {} } }, "JSON_INVALID", "refs");
    refuses({ ref: "x" }, "JSON_INVALID", "ref");
    refuses({ items: [3] }, "JSON_INVALID", "items");
    refuses({ text: "a", text2: 1 }, "FIELD_UNKNOWN", "text2");
    refuses({ bigNumber: 1, big_number: 1 }, "JSON_INVALID", "big_number");
    refuses({ word: "a", other: {} }, "JSON_INVALID", "choice", /oneof/);
    refuses({ time: "yesterday" }, "JSON_INVALID", "time");
    refuses("[]", "JSON_INVALID", "");
  });

  it("finds the types of an Any in the namespace of the request, the reference or the header", () => {
    const item = { "@type": shopUrl, title: "t", priceCents: "5" };
    const expected = create(productType, { title: "t", priceCents: 5n });
    for (const message of [
      read({ namespace: "shop", item }),
      read({ namespace: "shop", item }, "default"),
      read({ item }, "shop"),
    ]) {
      const any = message["item"] as Any;
      assert.equal(any.typeUrl, shopUrl);
      assert.deepEqual(fromBinary(productType, any.value), expected);
    }
    assert.throws(
      () => read({ item }),
      /item\.@type: shop\.v1\.Product is not registered in namespace `default`/,
    );
    const createType = messageType("echo.v1.EchoResponse");
    const nested = codec.read(createType, JSON.stringify({ namespace: "shop", item }), undefined);
    assert.equal((nested as Fields)["namespace"], "shop");
  });

  it("accepts base64 for the value of a type that is not registered, nested too", () => {
    const opaque = { "@type": "example.com/un.Known", value: "AQI=" };
    const message = read({ item: { "@type": shopUrl, extra: opaque }, items: [opaque] }, "shop");
    const any = (message["items"] as Any[])[0];
    assert.equal(any?.typeUrl, "type.googleapis.com/un.Known");
    assert.deepEqual(any.value, new Uint8Array([1, 2]));
    const product = fromBinary(productType, (message["item"] as Any).value) as Fields;
    assert.deepEqual((product["extra"] as Any).value, new Uint8Array([1, 2]));
    refuses({ item: { "@type": "un.Known", value: "?" } }, "JSON_INVALID", "item.value", /base64/);
    refuses({ item: { "@type": "un.Known", a: 1 } }, "TYPE_NOT_REGISTERED", "item.@type");
    refuses({ item: { title: "x" } }, "JSON_INVALID", "item.@type");
    refuses({ item: { "@type": "x/" } }, "JSON_INVALID", "item.@type");
    refuses(
      { item: { "@type": "shop.v1.Prodct" } },
      "TYPE_NOT_REGISTERED",
      "item.@type",
      /did you mean shop\.v1\.Product/,
    );
  });

  it("reads an Any of a type with a JSON form of its own from its value", () => {
    const message = read({
      items: [
        { "@type": "type.googleapis.com/google.protobuf.Timestamp", value: "1970-01-01T00:00:01Z" },
        { "@type": "type.googleapis.com/google.protobuf.Struct", value: { a: 1 } },
        {
          "@type": "type.googleapis.com/google.protobuf.Any",
          value: { "@type": "type.googleapis.com/google.protobuf.StringValue", value: "s" },
        },
      ],
    });
    const [time, , any] = message["items"] as Any[];
    assert.equal(fromBinary(TimestampSchema, time?.value ?? new Uint8Array()).seconds, 1n);
    assert.match(String(Buffer.from(any?.value ?? [])), /StringValue/);
  });
});

describe("JsonCodec.write", () => {
  const write = (message: Record<string, unknown>, namespace = "shop"): unknown =>
    JSON.parse(codec.write(echoType, create(echoType, message), namespace));

  it("agrees with protobuf-es where every type is known", () => {
    const item = anyPack(productType, create(productType, { title: "t" }));
    const message = create(echoType, {
      text: "t",
      item,
      items: [item, anyPack(StringValueSchema, create(StringValueSchema, { value: "v" }))],
      itemsByName: { a: item, ["__proto__"]: item },
      refs: { 3: { name: "n" } },
      bigNumber: 9223372036854775807n,
      choice: { case: "other", value: { name: "o" } },
      child: { item, child: { items: [item] } },
      anything: { kind: { case: "boolValue", value: true } },
    });
    assert.deepEqual(
      JSON.parse(codec.write(echoType, message, "shop")),
      toJson(echoType, message, { registry: files }),
    );
    assert.deepEqual(
      JSON.parse(codec.write(messageType("echo.v1.Ref"), create(messageType("echo.v1.Ref")), "x")),
      {},
    );
  });

  it("shows an Any that it cannot read as base64, nested too, and reads it back", () => {
    const extra = { typeUrl: "type.googleapis.com/un.Known", value: new Uint8Array([1, 2]) };
    const item = anyPack(productType, create(productType, { title: "t", extra }));
    const broken = { typeUrl: shopUrl, value: new Uint8Array([0x0a, 0xff]) };
    const shown = write({ item, items: [extra, broken], itemsByName: { k: extra } });
    const opaque = { "@type": "type.googleapis.com/un.Known", value: "AQI=" };
    assert.deepEqual(shown, {
      item: { "@type": shopUrl, title: "t", extra: opaque },
      items: [opaque, { "@type": shopUrl, value: "Cv8=" }],
      itemsByName: { k: opaque },
    });
    assert.deepEqual(
      read({ item: { "@type": shopUrl, title: "t", extra: opaque } }, "shop")["item"],
      item,
    );
  });

  it("shows a registered type as base64 in a namespace that does not know it", () => {
    const item = anyPack(productType, create(productType, { title: "t" }));
    assert.deepEqual(write({ item }, "default"), { item: { "@type": shopUrl, value: "CgF0" } });
  });

  it("leaves the message as it was", () => {
    const extra = { typeUrl: "type.googleapis.com/un.Known", value: new Uint8Array([1, 2]) };
    const message = create(echoType, { item: extra, child: { items: [extra] } });
    const before = toBinary(echoType, message);
    codec.write(echoType, message, "shop");
    assert.deepEqual(toBinary(echoType, message), before);
  });
});
