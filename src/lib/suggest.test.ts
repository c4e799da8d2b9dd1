import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { didYouMean, nearest, suggestionsMax } from "./suggest.ts";

const names = ["shop.v1.Product", "shop.v1.Order", "shop.v1.OrderItem", "acme.Person"];

describe("nearest", () => {
  it("finds a misspelt name, with or without its package, in any case", () => {
    assert.deepEqual(nearest("shop.v1.Prodct", names), ["shop.v1.Product"]);
    assert.deepEqual(nearest("Prodcut", names), ["shop.v1.Product"]);
    assert.deepEqual(nearest("product", names), ["shop.v1.Product"]);
    assert.equal(nearest("shop.v1.order", names)[0], "shop.v1.Order");
  });

  it("counts two letters that were swapped as one mistake", () => {
    assert.deepEqual(nearest("titel", ["title", "author"]), ["title"]);
    assert.deepEqual(nearest("prot", ["port", "host"]), ["port"]);
    assert.deepEqual(nearest("otp", ["pot"]), []);
    // Two pairs are two mistakes, one too many for a short name.
    assert.deepEqual(nearest("opts", ["post"]), []);
    assert.deepEqual(nearest("psot", ["post"]), ["post"]);
  });

  it("offers nothing when nothing is near", () => {
    assert.deepEqual(nearest("completely.Different", names), []);
    assert.deepEqual(nearest("", names), []);
    assert.deepEqual(nearest("x".repeat(100_000), ["x".repeat(100_000)]), []);
  });

  it("offers a few names at most", () => {
    const many = Array.from({ length: 50 }, (_, index) => `Name${index}`);
    assert.equal(nearest("Name", many).length, suggestionsMax);
  });
});

describe("didYouMean", () => {
  it("is a sentence, or nothing", () => {
    assert.equal(didYouMean("Prodct", names), "; did you mean shop.v1.Product?");
    assert.equal(didYouMean("zzzzzz", names), "");
  });
});
