import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { CollectorError } from "../errors.ts";
import { checkContentType, checkFileName, checkSha256, fileUri } from "./file-names.ts";

function refusal(check: () => unknown): CollectorError {
  try {
    check();
  } catch (error) {
    assert.ok(error instanceof CollectorError);
    return error;
  }
  assert.fail("it was taken");
}

describe("checkFileName", () => {
  for (const name of [
    "a",
    "photos/front.jpg",
    "..%2f",
    "%2e%2e/%2e%2e/x",
    "...",
    ".hidden",
    "a b/ü/\u{1f600}",
    "x".repeat(255),
    `${"x".repeat(255)}/`.repeat(3) + "y".repeat(255),
    "c:/x",
    "__proto__",
  ]) {
    it(`takes ${JSON.stringify(name.slice(0, 30))}`, () => checkFileName(name, "file.name"));
  }

  for (const [name, rule] of [
    [".", /segment "\."/],
    ["..", /segment "\.\."/],
    ["../../etc/x", /segment "\.\."/],
    ["a/../b", /segment "\.\."/],
    ["a/./b", /segment "\."/],
    ["/etc/x", /begins or ends with `\/`/],
    ["a/", /begins or ends with `\/`/],
    ["a//b", /two of them together/],
    ["a\\b", /backslash/],
    ["a\0b", /control character/],
    ["a\nb", /control character/],
    ["a\u007fb", /control character/],
    ["a\u0085b", /control character/],
    ["a\ud800b", /surrogate/],
    ["x".repeat(256), /256 bytes.*255/],
    ["ü".repeat(128), /256 bytes.*255/],
    ["x".repeat(5000), /5000 bytes.*1024/],
  ] as const) {
    it(`refuses ${JSON.stringify(name.slice(0, 30))}`, () => {
      const error = refusal(() => checkFileName(name, "file.name"));
      assert.equal(error.reason, "FILE_NAME_INVALID");
      assert.equal(error.violations[0]?.field, "file.name");
      assert.match(error.violations[0]?.description ?? "", rule);
    });
  }

  it("says that a name is missing, not that it is wrong", () => {
    assert.equal(refusal(() => checkFileName("", "file.name")).reason, "ARGUMENT_MISSING");
  });

  it("takes no name that a path would read as another folder", () => {
    const segment = fc.oneof(
      fc.constantFrom("..", ".", "", "a", "%2e%2e", "..%2f", "\\", "\0"),
      fc.string({ unit: "binary" }),
    );
    fc.assert(
      fc.property(fc.array(segment, { maxLength: 5 }), (segments) => {
        const name = segments.join("/");
        try {
          checkFileName(name, "name");
        } catch (error) {
          assert.ok(error instanceof CollectorError);
          return;
        }
        assert.equal(
          new URL(`x:/root/${name.split("/").map(encodeURIComponent).join("/")}`).pathname.split(
            "/",
          ).length,
          name.split("/").length + 2,
        );
      }),
    );
  });
});

describe("checkContentType", () => {
  it("takes media types, with parameters or without", () => {
    for (const type of ["image/jpeg", "text/plain; charset=utf-8", 'a/b;c="d e";f=g']) {
      assert.equal(checkContentType(type, "t"), type);
    }
    assert.equal(checkContentType("", "t"), "application/octet-stream");
  });

  it("refuses what would break out of its header, or is no media type", () => {
    for (const type of [
      "text",
      "text/",
      "text/plain\r\nset-cookie: a=b",
      "text/plain;",
      "text/plain; charset",
      'a/b;c="\r\n"',
      "tëxt/plain",
      "a/b\0",
      `a/${"b".repeat(300)}`,
    ]) {
      const error = refusal(() => checkContentType(type, "header.content_type"));
      assert.equal(error.reason, "ARGUMENT_INVALID");
      assert.equal(error.violations[0]?.field, "header.content_type");
    }
  });
});

describe("checkSha256", () => {
  it("takes hex of either case, and nothing else", () => {
    assert.equal(checkSha256("AB".repeat(32), "s"), "ab".repeat(32));
    assert.equal(checkSha256("", "s"), undefined);
    for (const text of ["ab", "zz".repeat(32), "ab".repeat(33), `"${"ab".repeat(32)}"`]) {
      assert.equal(refusal(() => checkSha256(text, "s")).reason, "ARGUMENT_INVALID");
    }
  });
});

describe("fileUri", () => {
  it("encodes each segment, also one that a URL would take for a folder", () => {
    const file = {
      namespace: "default",
      collectionName: "notes",
      recordId: "",
      name: "a b/c?#%.txt",
    };
    assert.equal(fileUri(file), "/files/default/notes/shared/a%20b/c%3F%23%25.txt");
    assert.equal(
      fileUri({ ...file, recordId: "a/b", name: "x" }),
      "/files/default/notes/records/a%2Fb/x",
    );
    assert.equal(
      fileUri({ ...file, recordId: "..", name: "x" }),
      "/files/default/notes/records/%2E%2E/x",
    );
  });
});
