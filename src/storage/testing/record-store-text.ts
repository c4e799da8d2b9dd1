import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { Condition, SearchHits, TextMatch, ValueSource } from "../record-query.ts";
import type { StoreLayout, Tokenizer } from "../store-layout.ts";
import {
  allOf,
  contentOf,
  createStep,
  idsWith,
  type OpenedStore,
  type OpenHarness,
  openPeople,
  peopleLayout,
} from "./engine-harness.ts";

/** What every engine must do to find records by their text. */
export function describeRecordStoreText(engineName: string, open: OpenHarness): void {
  const openWith = async (
    texts: Readonly<Record<string, string>>,
    tokenizer: Tokenizer = "words",
  ): Promise<OpenedStore> => {
    const opened = await openPeople(open, {}, layoutWith(tokenizer));
    const steps = Object.entries(texts).map(([id, name]) => createStep(id, { name }));
    await opened.store.write({ steps });
    return opened;
  };

  describe(`RecordStore on ${engineName}: text`, () => {
    it("makes words of text as the tokenizer says", async () => {
      const texts = { cafe: "Le Café", run: "she RUNS fast", japan: "東京都庁", math: "x²+y²" };
      const found: Record<Tokenizer, readonly (readonly [string, readonly string[]])[]> = {
        words: [
          ["CAFE", ["cafe"]],
          ["run", []],
          ["京都", []],
        ],
        "exact-words": [
          ["cafe", []],
          ["café", ["cafe"]],
        ],
        english: [
          ["running", ["run"]],
          ["cafe", ["cafe"]],
        ],
        trigram: [
          ["京都庁", ["japan"]],
          ["uns", ["run"]],
          ["un", []],
          ["NS fa", ["run"]],
        ],
      };
      for (const tokenizer of ["words", "exact-words", "english", "trigram"] as const) {
        await using opened = await openWith(texts, tokenizer);
        for (const [word, ids] of found[tokenizer]) {
          assert.deepEqual(await idsWith(opened.store, word), ids, `${word} by ${tokenizer}`);
        }
      }
    });

    it("understands phrases, beginnings, fields, or, and but not", async () => {
      await using opened = await openPeople(open);
      const { store } = opened;
      const steps = [
        createStep("a", { name: "green tea", notes: "with milk" }),
        createStep("b", { name: "tea green", notes: "without" }),
        createStep("c", { name: "black coffee", notes: "green beans" }),
      ];
      await store.write({ steps });
      const cases: readonly (readonly [TextMatch, readonly string[]])[] = [
        [term("green tea"), ["a"]],
        [term("green"), ["a", "b", "c"]],
        [term("green", { field: "notes" }), ["c"]],
        [term("cof", { prefix: true }), ["c"]],
        [term("green t", { prefix: true }), ["a"]],
        [term("cof"), []],
        [{ kind: "or", matches: [term("coffee"), term("milk")] }, ["a", "c"]],
        [{ kind: "butNot", match: term("green"), without: term("tea") }, ["c"]],
        [{ kind: "butNot", match: term("tea"), without: term("green tea") }, ["b"]],
        [{ kind: "and", matches: [term("with", { prefix: true }), term("tea")] }, ["a", "b"]],
      ];
      for (const [text, ids] of cases) {
        assert.deepEqual(idsOf(await store.search({ text, limit: 9, offset: 0 })), ids);
      }
      await assert.rejects(
        store.search({ text: term("x", { field: "no" }), limit: 9, offset: 0 }),
        {
          reason: "QUERY_INVALID",
        },
      );
    });

    it("passes over terms without a word, and finds nothing by them alone", async () => {
      await using opened = await openWith({ a: "tea", b: "milk" });
      const none = term("--!");
      const cases: readonly (readonly [TextMatch, readonly string[]])[] = [
        [none, []],
        [{ kind: "and", matches: [none, term("tea")] }, ["a"]],
        [{ kind: "or", matches: [none, term("tea")] }, ["a"]],
        [{ kind: "and", matches: [{ kind: "or", matches: [none, none] }, term("tea")] }, ["a"]],
        [{ kind: "butNot", match: term("tea"), without: none }, ["a"]],
        [{ kind: "butNot", match: none, without: term("tea") }, []],
        [{ kind: "and", matches: [] }, []],
      ];
      for (const [text, ids] of cases) {
        assert.deepEqual(idsOf(await opened.store.search({ text, limit: 9, offset: 0 })), ids);
      }
    });

    it("ranks by how well the text matches, weighted by field, with pages by offset", async () => {
      const { text } = layoutWith("words");
      const fields = [
        { name: "name", weight: 1 },
        { name: "notes", weight: 10 },
      ];
      await using opened = await openPeople(
        open,
        {},
        {
          ...peopleLayout,
          text: text && { ...text, fields },
        },
      );
      const { store } = opened;
      await store.write({
        steps: [
          createStep("long", { name: "tea and much else that is not about it at all" }),
          createStep("named", { name: "tea" }),
          createStep("noted", { notes: "tea" }),
          ...Array.from({ length: 10 }, (_, at) => createStep(`other${at}`, { name: "milk" })),
        ],
      });
      const query = { text: term("tea"), limit: 2, offset: 0 };
      const first = await store.search(query);
      assert.deepEqual(
        first.hits.map(({ record }) => record.id),
        ["noted", "named"],
      );
      assert.deepEqual(
        [first.totalCount, first.totalCapped, first.approximate],
        [3n, false, false],
      );
      assert(first.hits.every(({ score, textScore }) => score > 0 && score === textScore));
      const second = await store.search({ ...query, offset: 2 });
      assert.deepEqual([idsOf(second), second.totalCount], [["long"], 3n]);
      const beyond = await store.search({ ...query, offset: 9 });
      assert.deepEqual([idsOf(beyond), beyond.totalCount], [[], 3n]);
    });

    it("filters before it ranks, by an index or in the record, and sorts if told to", async () => {
      await using opened = await openPeople(open);
      const { store } = opened;
      const steps = Array.from({ length: 300 }, (_, at) =>
        createStep(`r${String(at).padStart(3, "0")}`, {
          name: at % 2 === 0 ? "even tea" : "odd tea",
          age: at % 10,
          size: 300 - at,
        }),
      );
      await store.write({ steps });
      const inIndex = compare(age, 3);
      const inRecord: Condition = { ...compare(field("size"), 290), operator: "lt" };
      const both: Condition = { kind: "and", conditions: [inIndex, inRecord] };
      const text = term("odd");
      const counts = await Promise.all(
        [inIndex, inRecord, both, compare(age, 2)].map(async (where) => {
          const { totalCount } = await store.search({ text, where, limit: 5, offset: 0 });
          return totalCount;
        }),
      );
      assert.deepEqual(counts, [30n, 145n, 29n, 0n]);
      const order = [{ source: field("size"), descending: false }];
      const sorted = await store.search({ text, where: both, order, limit: 2, offset: 1 });
      assert.deepEqual(
        sorted.hits.map(({ record }) => record.id),
        ["r283", "r273"],
      );
      assert(sorted.hits.every(({ textScore }) => (textScore ?? 0) > 0));
      const listed = await store.search({ where: both, order, limit: 1, offset: 1 });
      assert.deepEqual([idsOf(listed), listed.totalCount], [["r283"], 29n]);
    });

    it("counts the values of facets over all that matches", async () => {
      await using opened = await openPeople(open);
      const { store } = opened;
      const steps = Array.from({ length: 60 }, (_, at) =>
        createStep(`${at}`, {
          name: at < 40 ? "tea" : "milk",
          ...(at % 5 === 4 ? {} : { age: at % 3 }),
        }),
      );
      await store.write({ steps });
      const facets = [{ index: "age", source: age, limit: 2 }];
      const all = await store.search({ facets, limit: 1, offset: 0 });
      const tea = await store.search({ text: term("tea"), facets, limit: 1, offset: 0 });
      const filtered = await store.search({ where: compare(age, 1), facets, limit: 1, offset: 0 });
      const expected = (from: number, to: number): { value: bigint; count: number }[] =>
        [0, 1, 2]
          .map((value) => ({
            value: BigInt(value),
            count: steps.slice(from, to).filter((_, at) => at % 5 !== 4 && at % 3 === value).length,
          }))
          .sort((a, b) => b.count - a.count || Number(a.value - b.value))
          .slice(0, 2);
      assert.deepEqual(all.facets, [{ values: expected(0, 60), approximate: false }]);
      assert.deepEqual(tea.facets, [{ values: expected(0, 40), approximate: false }]);
      assert.deepEqual(filtered.facets[0]?.values, [{ value: 1n, count: 16 }]);
      const unknown = [{ index: "no", source: field("no"), limit: 1 }];
      await assert.rejects(store.search({ facets: unknown, limit: 1, offset: 0 }), {
        reason: "QUERY_INVALID",
      });
    });

    it("ranks by nearness, and fuses it with the text", async () => {
      const vectors = [{ name: "place", dimensions: 2, metric: "l2" as const }];
      await using opened = await openPeople(open, {}, { ...peopleLayout, vectors });
      const { store } = opened;
      const at = (id: string, name: string, x: number | undefined) => ({
        kind: "create" as const,
        id,
        labels: {},
        content: contentOf(
          { name },
          { vectors: [x === undefined ? undefined : Float32Array.of(x, 0)] },
        ),
      });
      await store.write({
        steps: [
          at("near", "milk", 1),
          at("both", "tea", 2),
          at("far", "milk", 9),
          at("text", "tea", undefined),
        ],
      });
      const near = { vector: "place", point: Float32Array.of(0, 0), distanceMax: 5 };
      const byVector = await store.search({ near, limit: 9, offset: 0 });
      assert.deepEqual(
        byVector.hits.map(({ record, distance, score }) => [record.id, distance, score]),
        [
          ["near", 1, 1 / 2],
          ["both", 2, 1 / 3],
        ],
      );
      const fused = await store.search({ text: term("tea"), near, limit: 9, offset: 0 });
      assert.equal(fused.hits[0]?.record.id, "both");
      assert.deepEqual(idsOf(fused), ["both", "near", "text"]);
      assert.equal(fused.totalCount, 3n);
      const parts = new Map(fused.hits.map((hit) => [hit.record.id, hit]));
      assert.equal(parts.get("near")?.textScore, undefined);
      assert.equal(parts.get("text")?.distance, undefined);
      assert(Math.abs((fused.hits[0]?.score ?? 0) - (1 / 61 + 1 / 62)) < 1e-3);
    });

    it("answers the passages that match, marked, of the fields that match", async () => {
      await using opened = await openPeople(open);
      const match = { kind: "or", matches: [term("tea"), term("caf", { prefix: true })] } as const;
      const marks = { startMark: "$&", endMark: "" };
      const long = `${"word ".repeat(50)}TEA ${"word ".repeat(50)}`;
      const texts = [
        ["green tea\0, tea", "none"],
        ["nothing", "nothing"],
        ["Café", long],
        ["$&tea", ""],
      ];
      const query = { match, texts, ...marks };
      assert.deepEqual(await opened.store.passages({ ...query, wordsMax: undefined }), [
        [{ field: "name", passage: "green $&tea , $&tea" }],
        [],
        [
          { field: "name", passage: "$&Café" },
          { field: "notes", passage: long.replace("TEA", "$$&TEA") },
        ],
        [{ field: "name", passage: "$&$&tea" }],
      ]);
      const short = await opened.store.passages({ ...query, wordsMax: 5 });
      const passage = short[2]?.[1]?.passage ?? "";
      assert.match(passage, /\$&TEA/);
      assert(passage.length < 50);
    });

    it("takes any text for a query, and finds what a plain search for the words finds", async () => {
      const texts = ["a b", "B é c", "d,a", "ab c", "x-1 a", '"a" AND b', "c NOT a*", "(b", "t0:a"];
      await using opened = await openWith(
        Object.fromEntries(texts.map((text, at) => [`${at}`, text])),
      );
      const { store } = opened;
      const piece = fc.constantFrom(
        ...Array.from("abcdé1 -\"*():'\0"),
        "AND",
        "NOT",
        "NEAR(",
        "t0:",
        "\ud800",
        "😀",
      );
      const anyText = fc.oneof(
        fc.array(piece, { maxLength: 6 }).map((pieces) => pieces.join("")),
        fc.string({ unit: "binary", maxLength: 8 }),
      );
      await fc.assert(
        fc.asyncProperty(
          anyText,
          anyText,
          fc.constantFrom("and", "or", "butNot"),
          async (a, b, kind) => {
            const [left, right] = [term(a), term(b)];
            const text: TextMatch =
              kind === "butNot"
                ? { kind, match: left, without: right }
                : { kind: kind === "and" ? "and" : "or", matches: [left, right] };
            const hits = await store.search({ text, limit: 100, offset: 0 });
            if (!isPlain(a) || !isPlain(b)) return;
            const expected = texts.flatMap((document, at) =>
              naiveMatch(document, a, b, kind) ? `${at}` : [],
            );
            assert.deepEqual(idsOf(hits), expected);
            await store.passages({
              match: text,
              texts: [[a, b]],
              startMark: b,
              endMark: a,
              wordsMax: 5,
            });
          },
        ),
        { numRuns: 300 },
      );
    });

    it("ranks some of what matches, and says so, if very many records match many terms", async () => {
      await using opened = await openPeople(open);
      const { store } = opened;
      const count = 10_100;
      for (let from = 0; from < count; from += 1010) {
        const steps = Array.from({ length: 1010 }, (_, at) =>
          createStep(`${from + at}`, {
            name: "tea",
            notes: from + at < 5 ? "rare" : "",
            age: at % 2,
          }),
        );
        await store.write({ steps });
      }
      const terms = ["rare", ...Array.from({ length: 15 }, (_, at) => `none${at}`)].map((word) =>
        term(word),
      );
      const common: TextMatch = { kind: "or", matches: [term("tea"), ...terms.slice(1)] };
      const facets = [{ index: "age", source: age, limit: 1 }];
      const many = await store.search({ text: common, facets, limit: 2, offset: 0 });
      assert.deepEqual(
        [many.approximate, many.totalCount, many.totalCapped, many.hits.length],
        [true, 10_000n, true, 2],
      );
      assert.deepEqual(many.facets[0], {
        values: [{ value: 0n, count: 5050 }],
        approximate: false,
      });
      const few = await store.search({ text: { kind: "or", matches: terms }, limit: 9, offset: 0 });
      assert.deepEqual([few.approximate, few.totalCount], [false, 5n]);
    });

    it("finds nothing of what was deleted or changed", async () => {
      await using opened = await openWith({ a: "tea", b: "tea" });
      const { store } = opened;
      await store.write({ steps: [{ kind: "delete", id: "a" }] });
      assert.deepEqual(await idsWith(store, "tea"), ["b"]);
      const { totalCount } = await store.search({ text: allOf(["tea"]), limit: 1, offset: 0 });
      assert.equal(totalCount, 1n);
    });
  });
}

const age = field("age");

function field(name: string): ValueSource {
  return {
    kind: "field",
    steps: [{ kind: "member", name }],
    index: name === "size" ? undefined : name,
  };
}

function compare(source: ValueSource, value: number): Extract<Condition, { kind: "compare" }> {
  return { kind: "compare", source, operator: "eq", value: BigInt(value) };
}

function term(
  text: string,
  { prefix = false, field }: { readonly prefix?: boolean; readonly field?: string } = {},
): TextMatch {
  return { kind: "term", text, prefix, field };
}

function layoutWith(tokenizer: Tokenizer): StoreLayout {
  const { text } = peopleLayout;
  return { ...peopleLayout, text: text && { ...text, tokenizer } };
}

function idsOf({ hits }: SearchHits): string[] {
  return hits.map(({ record }) => record.id).sort();
}

/** Text whose words are made alike by every Unicode version. */
function isPlain(text: string): boolean {
  return /^[\p{ASCII}é😀\ud800]*$/u.test(text);
}

function wordsOf(text: string): string[] {
  const bare = text.normalize("NFD").replaceAll(/\p{M}/gu, "").toLowerCase();
  return bare.match(/[\p{L}\p{N}\p{Co}]+/gu) ?? [];
}

function naiveMatch(document: string, a: string, b: string, kind: string): boolean {
  const [left, right] = [wordsOf(a), wordsOf(b)];
  const has = (words: readonly string[]): boolean => hasPhrase(wordsOf(document), words);
  if (kind === "butNot") return left.length > 0 && has(left) && !(right.length > 0 && has(right));
  const terms = [left, right].filter((words) => words.length > 0);
  if (terms.length === 0) return false;
  return kind === "and" ? terms.every(has) : terms.some(has);
}

function hasPhrase(document: readonly string[], phrase: readonly string[]): boolean {
  return document.some((_, from) => phrase.every((word, at) => document[from + at] === word));
}
