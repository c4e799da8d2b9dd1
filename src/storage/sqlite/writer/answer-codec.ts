import type { StepOutcome } from "../../record-store.ts";
import type { Failure } from "../failure.ts";

/** What became of one write. */
export type Answer = Applied | Refused;

export interface Applied {
  readonly call: number;
  readonly revision: bigint;
  readonly replayed: boolean;
  readonly outcomes: readonly PackedOutcome[];
}

export interface Refused {
  readonly call: number;
  readonly failure: Failure;
}

/** A record before a step; its id is the step's. */
export interface PackedBefore {
  readonly version: bigint;
  readonly createdUs: bigint;
  readonly updatedUs: bigint;
  /** As JSON. */
  readonly labels: string;
  readonly document: string;
}

/** A step's outcome; labels and id are undefined if they are those of the step. */
export type PackedOutcome = readonly [
  version: bigint,
  createdUs: bigint,
  updatedUs: bigint,
  change: StepOutcome["change"],
  labels: string | undefined,
  id?: string | undefined,
  before?: PackedBefore | undefined,
];

/**
 * The answers of a group on their way to the main thread. The numbers of all that went well are in
 * one array, which is copied as a block: twenty times cheaper than as objects.
 */
export interface PackedAnswers {
  readonly numbers: BigInt64Array;
  readonly texts: readonly string[];
  readonly refused: readonly Refused[];
}

const changes: readonly StepOutcome["change"][] = ["created", "updated", "deleted", "none"];
const changeCodes = { created: 0, updated: 1, deleted: 2, none: 3 } as const;
const withLabels = 4;
const withId = 8;
const withBefore = 16;

export function packAnswers(answers: readonly Answer[]): PackedAnswers {
  const refused: Refused[] = [];
  const texts: string[] = [];
  let size = 0;
  for (const answer of answers) {
    if ("failure" in answer) refused.push(answer);
    else size += answerSize(answer);
  }
  const numbers = new BigInt64Array(size);
  let at = 0;
  for (const answer of answers) {
    if ("failure" in answer) continue;
    numbers[at++] = BigInt(answer.call);
    numbers[at++] = answer.revision;
    numbers[at++] = answer.replayed ? 1n : 0n;
    numbers[at++] = BigInt(answer.outcomes.length);
    for (const [version, createdUs, updatedUs, change, labels, id, before] of answer.outcomes) {
      numbers[at++] = version;
      numbers[at++] = createdUs;
      numbers[at++] = updatedUs;
      let code: number = changeCodes[change];
      if (labels !== undefined) {
        code |= withLabels;
        texts.push(labels);
      }
      if (id !== undefined) {
        code |= withId;
        texts.push(id);
      }
      if (before !== undefined) {
        code |= withBefore;
        texts.push(before.labels, before.document);
      }
      numbers[at++] = BigInt(code);
      if (before === undefined) continue;
      numbers[at++] = before.version;
      numbers[at++] = before.createdUs;
      numbers[at++] = before.updatedUs;
    }
  }
  return { numbers, texts, refused };
}

function answerSize({ outcomes }: Applied): number {
  let size = 4 + 4 * outcomes.length;
  for (const [, , , , , , before] of outcomes) if (before !== undefined) size += 3;
  return size;
}

/** Gives each answer to `receive`, the refusals last. */
export function unpackAnswers(packed: PackedAnswers, receive: (answer: Answer) => void): void {
  const { numbers, texts, refused } = packed;
  let at = 0;
  let text = 0;
  const next = (): bigint => numbers[at++] ?? 0n;
  while (at < numbers.length) {
    const call = Number(next());
    const revision = next();
    const replayed = next() === 1n;
    const outcomes: PackedOutcome[] = [];
    for (let left = next(); left > 0n; left--) {
      const version = next();
      const createdUs = next();
      const updatedUs = next();
      const code = Number(next());
      const change = changes[code % 4] ?? "none";
      const labels = (code & withLabels) === 0 ? undefined : texts[text++];
      const id = (code & withId) === 0 ? undefined : texts[text++];
      const outcome = [version, createdUs, updatedUs, change, labels] as const;
      if ((code & withBefore) !== 0) {
        const [labelsBefore = "{}", document = "{}"] = [texts[text++], texts[text++]];
        const state = { version: next(), createdUs: next(), updatedUs: next() };
        outcomes.push([...outcome, id, { ...state, labels: labelsBefore, document }]);
      } else {
        outcomes.push(id === undefined ? outcome : [...outcome, id]);
      }
    }
    receive({ call, revision, replayed, outcomes });
  }
  for (const refusal of refused) receive(refusal);
}
