// The memory of an agent: what it learns is found again by meaning and by words, newest facts included.
//
//   node examples/agent-memory.ts remember person "Ada prefers espresso to tea"
//   node examples/agent-memory.ts recall "what does Ada drink?"
//
// In a project of yours the import is `collector/client`, and `embed` asks the model that you use.
import { timestampNow } from "@bufbuild/protobuf/wkt";
import { type Client, ClientError, connect } from "../src/client/index.ts";
import { MemorySchema } from "./gen/memory_pb.ts";

/** As many as the numbers that `embed` gives. */
const dimensions = 256;

await using client = await connect();
await prepare(client);
const memories = client.collection("memories", MemorySchema);

const [command, ...rest] = process.argv.slice(2);
if (command === "remember") {
  const [topic = "note", text = ""] = rest;
  const embedding = embed(text);
  const { id } = await memories.create({ text, topic, learnedAt: timestampNow(), embedding });
  console.log(`remembered ${id}`);
} else {
  const question = rest.join(" ");
  const hits = await memories.search(question, { vector: embed(question), limit: 3 });
  for (const { item, score } of hits)
    console.log(`${score.toFixed(2)}  ${item.topic}  ${item.text}`);
}

/** Registers the type and makes the collection, if that was not done before. */
async function prepare(client: Client): Promise<void> {
  await client.register(MemorySchema);
  try {
    await client.services.repo.createCollection({
      collection: {
        name: "memories",
        messageType: { messageName: MemorySchema.typeName },
        indexedFields: ["topic", "learned_at"],
        vectorFields: [{ name: "meaning", path: "embedding", dimensions }],
      },
    });
  } catch (error) {
    if (!(error instanceof ClientError) || error.reason !== "COLLECTION_EXISTS") throw error;
  }
}

/**
 * Stands for a model: texts that share parts of words are near each other. Replace it by a call of the one
 * you use; nothing else changes but `dimensions`.
 */
function embed(text: string): number[] {
  const vector = Array.from({ length: dimensions }, () => 0);
  const letters = ` ${text.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, " ")} `;
  for (let at = 0; at + 3 <= letters.length; at += 1) {
    let hash = 2166136261;
    for (const letter of letters.slice(at, at + 3)) {
      hash = Math.imul(hash ^ (letter.codePointAt(0) ?? 0), 16777619);
    }
    const place = (hash >>> 0) % dimensions;
    vector[place] = (vector[place] ?? 0) + 1;
  }
  return vector;
}
