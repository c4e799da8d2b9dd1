import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as fc from "fast-check";
import { openRawServer } from "../../../test/support/outbound.ts";
import type { HeaderList } from "../grpc/server-stream.ts";
import { HeaderBlockError, HeaderDecoder } from "./header-decoder.ts";
import { decodeHuffman } from "./huffman.ts";
import { call, openSession } from "./testing/client-fixture.ts";

const hex = (text: string) => Buffer.from(text.replaceAll(" ", ""), "hex");

/** Names of one request or answer: some again and again, so that tables are used. */
const names = fc.oneof(
  fc.constantFrom("x-a", "x-trace-id", "cache-control", "link", "x-data-bin"),
  fc.stringMatching(/^[a-z][a-z0-9_.-]{0,30}$/).map((name) => `x-${name}`),
);
const values = fc.oneof(
  fc.constantFrom("", "no-cache", "abc", "x".repeat(300)),
  fc.stringMatching(/^[!-~]([ -~]{0,60}[!-~])?$/),
);
const lists = fc.array(fc.tuple(names, values), { maxLength: 12 });

describe("header blocks", () => {
  it("are those of the examples in RFC 7541", () => {
    // Appendix C.6: three answers on one connection, packed, whose table holds 256 bytes.
    const decoder = new HeaderDecoder(16_384);
    const date = "Mon, 21 Oct 2013 20:13:21 GMT";
    assert.deepEqual(
      decoder.decode(
        hex(
          "3fe1 01 4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
        ),
      ).list,
      [
        ":status",
        "302",
        "cache-control",
        "private",
        "date",
        date,
        "location",
        "https://www.example.com",
      ],
    );
    assert.deepEqual(decoder.decode(hex("4883 640e ffc1 c0bf")).list, [
      ":status",
      "307",
      "cache-control",
      "private",
      "date",
      date,
      "location",
      "https://www.example.com",
    ]);
    const cookie = "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1";
    const third = decoder.decode(
      hex(
        "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
      ),
    ).list;
    assert.equal(third.at(-1), cookie);
    assert.equal(third[5], "Mon, 21 Oct 2013 20:13:22 GMT");
  });

  it("come through as they are, both ways, whatever the peer's table holds", async () => {
    for (const headerTableSize of [4096, 100, 0]) {
      let answer: HeaderList = [];
      let seen: HeaderList = [];
      await using server = await openRawServer(
        (stream, _path, raw) => {
          seen = raw;
          stream.respond([":status", "200", ...answer], { endStream: true });
        },
        { headerTableSize },
      );
      await using open = await openSession(server.port);
      await open.ready;
      await fc.assert(
        fc.asyncProperty(lists, lists, fc.constantFrom("/a/B", "/a/C"), async (up, down, path) => {
          answer = down.flat();
          const { headers } = await call(open.session, path, up.flat());
          const date = headers[0]?.indexOf("date") ?? -1;
          assert.deepEqual(headers[0]?.slice(2, date < 0 ? undefined : date), down.flat());
          assert.deepEqual(seen.slice(seen.indexOf("application/grpc") + 1), up.flat());
          assert.equal(seen[seen.indexOf(":path") + 1], path);
        }),
        { numRuns: 60 },
      );
    }
  });

  it("are refused where the two ends would no longer agree", () => {
    const bad = [
      "ff ff ff ff ff 0f",
      "be",
      "80",
      "40 81 ff",
      "40 85",
      "3f ff ff 03",
      "82 20",
      "0f",
    ];
    for (const block of bad) {
      assert.throws(() => new HeaderDecoder(1000).decode(hex(block)), HeaderBlockError, block);
    }
  });

  it("that cannot be used are read all the same, for the sake of the table", () => {
    const decoder = new HeaderDecoder(100);
    const large = Buffer.concat([hex("40 01 61 7f 49"), Buffer.alloc(200, "b")]);
    assert.equal(decoder.decode(large).problem, "too large");
    assert.deepEqual(new HeaderDecoder(1000).decode(hex("00 01 41 01 62")).problem, "malformed");
    assert.deepEqual(new HeaderDecoder(1000).decode(hex("00 01 61 01 0a")).problem, "malformed");
    assert.deepEqual(decoder.decode(hex("00 01 61 01 62")), {
      list: ["a", "b"],
      problem: undefined,
    });
  });

  it("never fail in another way, whatever comes", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 5 }), (blocks) => {
        const decoder = new HeaderDecoder(500);
        try {
          for (const block of blocks) decoder.decode(Buffer.from(block));
        } catch (error) {
          assert.ok(error instanceof HeaderBlockError);
        }
      }),
      { numRuns: 2000 },
    );
  });
});

describe("packed strings", () => {
  it("end with ones, fewer than eight", () => {
    assert.equal(decodeHuffman(hex("f1e3 c2e5 f23a 6ba0 ab90 f4ff"), 0, 12), "www.example.com");
    assert.equal(decodeHuffman(hex("f1e3 c2e5 f23a 6ba0 ab90 f4fe"), 0, 12), undefined);
    assert.equal(decodeHuffman(hex("f1e3 c2e5 f23a 6ba0 ab90 f4ff ff"), 0, 13), undefined);
    assert.equal(decodeHuffman(hex("ffff ffff"), 0, 4), undefined);
  });
});
