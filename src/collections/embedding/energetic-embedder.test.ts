import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { EnergeticEmbedder } from "./energetic-embedder.ts";

function similarity(left: Float32Array | undefined, right: Float32Array | undefined): number {
  assert(left !== undefined && right !== undefined);
  return left.reduce((sum, value, at) => sum + value * (right[at] ?? 0), 0);
}

describe("EnergeticEmbedder", () => {
  it("puts texts of similar meaning near each other, without the network", async () => {
    await using embedder = new EnergeticEmbedder();
    for (const [text, similar, other] of [
      ["A cat sits on the mat", "A kitten rests on the rug", "Interest rates rose in March"],
      ["How do I reset my password?", "I forgot my login and need a new one", "Add more salt"],
      ["The train to Berlin is late", "Rail service delayed towards Berlin", "A train of thought"],
    ] as const) {
      const [own, near, far] = await embedder.embed([text, similar, other]);
      assert(similarity(own, near) > similarity(own, far) + 0.2, text);
      assert(Math.abs(similarity(own, own) - 1) < 1e-3);
      assert.equal(own?.length, embedder.dimensions);
    }
  });

  it("gives a text without content a vector of length 0, and takes texts of any number and length", async () => {
    await using embedder = new EnergeticEmbedder();
    const texts = [
      "",
      " \n",
      "…",
      "word",
      "long ".repeat(10_000),
      ...Array<string>(20).fill("word"),
    ];
    const vectors = await embedder.embed(texts);
    assert.equal(vectors.length, texts.length);
    for (const empty of vectors.slice(0, 3)) assert.equal(similarity(empty, empty), 0);
    assert(Math.abs(similarity(vectors[3], vectors[24]) - 1) < 1e-3);
    assert.deepEqual(await embedder.embed([]), []);
  });

  it("stops when it is told to", async () => {
    await using embedder = new EnergeticEmbedder();
    await assert.rejects(embedder.embed(["word"], AbortSignal.abort()), { reason: "CANCELLED" });
  });
});
