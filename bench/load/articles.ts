import {
  create,
  createFileRegistry,
  type DescMessage,
  type MessageInitShape,
  toBinary,
} from "@bufbuild/protobuf";
import {
  type Any,
  AnySchema,
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
} from "@bufbuild/protobuf/wkt";
import { Random } from "../../test/support/random.ts";

export const articleTypeName = "bench.v1.Article";

const { STRING, INT64, FLOAT } = FieldDescriptorProto_Type;
const { OPTIONAL, REPEATED } = FieldDescriptorProto_Label;

/** The type of the records that are searched. */
export const articleFile: FileDescriptorProto = create(FileDescriptorProtoSchema, {
  name: "bench/v1/article.proto",
  package: "bench.v1",
  syntax: "proto3",
  messageType: [
    {
      name: "Article",
      field: [
        { name: "title", number: 1, type: STRING, label: OPTIONAL },
        { name: "body", number: 2, type: STRING, label: OPTIONAL },
        { name: "category", number: 3, type: STRING, label: OPTIONAL },
        { name: "price_cents", jsonName: "priceCents", number: 4, type: INT64, label: OPTIONAL },
        { name: "embedding", number: 5, type: FLOAT, label: REPEATED },
      ],
    },
  ],
});

const articleDesc: DescMessage = descOf();

function descOf(): DescMessage {
  const set = create(FileDescriptorSetSchema, { file: [articleFile] });
  const desc = createFileRegistry(set).getMessage(articleTypeName);
  if (desc === undefined) throw new Error("the article's type has no descriptor");
  return desc;
}

const vocabularySize = 50_000;
export const categories = 50;
export const priceMax = 1_000_000;

/** Weights of the words of a language: the word of rank r comes with 1 / r of the first one's frequency. */
const cumulative = cumulativeWeights();

function cumulativeWeights(): Float64Array {
  const sums = new Float64Array(vocabularySize);
  let sum = 0;
  for (let rank = 0; rank < vocabularySize; rank += 1) {
    sum += 1 / (rank + 1);
    sums[rank] = sum;
  }
  return sums;
}

/** The word of a rank, from 0, the commonest. */
export function wordOf(rank: number): string {
  let word = "";
  for (let rest = rank + 1; rest > 0; rest = Math.floor(rest / syllables.length)) {
    word += syllables[rest % syllables.length];
  }
  return word;
}

const syllables = ["ba", "do", "ke", "li", "mu", "na", "po", "ri", "su", "te", "vo", "za"];

function drawRank(random: Random): number {
  const target = random.next() * (cumulative[vocabularySize - 1] ?? 0);
  let low = 0;
  let high = vocabularySize - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((cumulative[middle] ?? 0) < target) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** About 300 bytes of text whose words are as frequent as those of a language (Zipf); always the same. */
export function articleItem(number: number): Any {
  const random = new Random(number);
  const words = (count: number) =>
    Array.from({ length: count }, () => wordOf(drawRank(random))).join(" ");
  const content: MessageInitShape<DescMessage> = {
    title: words(6),
    body: words(38),
    category: `c${random.below(categories)}`,
    priceCents: BigInt(random.below(priceMax)),
  };
  return create(AnySchema, {
    typeUrl: `type.googleapis.com/${articleTypeName}`,
    value: toBinary(articleDesc, create(articleDesc, content)),
  });
}
