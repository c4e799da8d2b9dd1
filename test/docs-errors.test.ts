import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { describe, it } from "node:test";
import { Code } from "@connectrpc/connect";
import { codeByReason } from "../src/rpc/status.ts";

interface DocumentedReason {
  readonly code: string;
  readonly when: string;
  readonly remedy: string;
}

/** The rows of the tables of reasons, by reason. */
function parseReasons(markdown: string): Map<string, DocumentedReason> {
  const rows = markdown.matchAll(/^\| `([A-Z_]+)` \| ([A-Z_]+) \| (.+) \| (.+) \|$/gm);
  const reasons = new Map<string, DocumentedReason>();
  for (const [, reason = "", code = "", when = "", remedy = ""] of rows) {
    assert.ok(!reasons.has(reason), `${reason} has two rows`);
    reasons.set(reason, { code, when, remedy });
  }
  return reasons;
}

/** `INVALID_ARGUMENT` for `Code.InvalidArgument`; gRPC spells one of them its own way. */
function grpcName(code: Code): string {
  if (code === Code.Canceled) return "CANCELLED";
  return Code[code].replaceAll(/(?<=[a-z])(?=[A-Z])/g, "_").toUpperCase();
}

describe("docs/errors.md", async () => {
  const documented = parseReasons(
    await readFile(new URL("../docs/errors.md", import.meta.url), "utf8"),
  );
  const source = await readFile(new URL("../src/errors.ts", import.meta.url), "utf8");

  it("has a row for every reason, and for nothing else", () => {
    const declared = source.slice(source.indexOf("ErrorReason ="), source.indexOf(";"));
    const reasons = [...declared.matchAll(/"([A-Z_]+)"/g)].map((match) => match[1]);
    assert.ok(reasons.length > 40);
    assert.deepEqual(new Set(documented.keys()), new Set(reasons));
    assert.deepEqual(new Set(documented.keys()), new Set(Object.keys(codeByReason)));
  });

  it("gives each reason the code that the server sends", () => {
    for (const [reason, code] of Object.entries(codeByReason)) {
      assert.equal(documented.get(reason)?.code, grpcName(code), reason);
    }
  });

  it("says of each when it happens and what to do, in a sentence", () => {
    for (const [reason, { when, remedy }] of documented) {
      for (const text of [when, remedy]) assert.match(text, /^.{10,}\.$/, reason);
    }
  });
});
