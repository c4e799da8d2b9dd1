import type { DerivedData, RecordContent, Write, WriteStep } from "../../record-store.ts";

/**
 * Writes on their way to a writer thread. A message holds many, as one flat list of plain values
 * and one buffer for all bytes: copying objects one by one costs several times as much, and posting
 * a small view of a shared buffer copies the whole buffer.
 */
export interface PackedWrites {
  readonly values: readonly WireValue[];
  readonly bytes: ArrayBuffer;
}

export type WireValue = string | number | bigint | undefined;

/** A write as it waits to be posted. */
export interface OutgoingWrite {
  readonly call: number;
  readonly storeKey: string;
  readonly nowUs: bigint;
  readonly write: Write;
}

/** A write as the writer thread sees it. */
export interface IncomingWrite {
  readonly call: number;
  readonly storeKey: string;
  readonly nowUs: bigint;
  readonly steps: readonly IncomingStep[];
  readonly request: { readonly id: string; readonly fingerprint: string } | undefined;
  readonly wantsBefore: boolean;
  /** What the write brings in, for the bounds of a group. */
  readonly byteLength: number;
}

export type StepKind = WriteStep["kind"];

export interface IncomingStep {
  readonly kind: StepKind;
  readonly id: string;
  readonly ifVersion: bigint | undefined;
  readonly allowMissing: boolean;
  /** As JSON. */
  readonly labels: string | undefined;
  /** Undefined if the step brings nothing derived. */
  readonly derived: DerivedData | undefined;
  /** Undefined if the step leaves the record's bytes alone. */
  readonly data: Uint8Array | undefined;
  /** What a step that replays brings along. */
  readonly replayed: Replayed | undefined;
}

/** What a change was in the store that it comes from. Of a delete, `updatedUs` is its time. */
export interface Replayed {
  readonly revision: bigint;
  readonly createdRevision: bigint;
  readonly createdUs: bigint;
  readonly updatedUs: bigint;
}

const kinds: readonly StepKind[] = [
  "create",
  "update",
  "delete",
  "derive",
  "expire",
  "replay",
  "replayDelete",
];
const kindCodes: Readonly<Record<StepKind, number>> = {
  create: 0,
  update: 1,
  delete: 2,
  derive: 3,
  expire: 4,
  replay: 5,
  replayDelete: 6,
};

const noLabels = "{}";

/** Vectors lie at multiples of their items' size, so that they can be read where they are. */
const vectorAlign = Float32Array.BYTES_PER_ELEMENT;

export function packWrites(writes: readonly OutgoingWrite[]): PackedWrites {
  let total = 0;
  for (const { write } of writes) total += packedBytes(write);
  const packer = new Packer(total);
  for (const write of writes) packer.write(write);
  return { values: packer.values, bytes: packer.bytes.buffer };
}

class Packer {
  readonly values: WireValue[] = [];
  readonly bytes: Uint8Array<ArrayBuffer>;
  #offset = 0;

  constructor(byteLength: number) {
    this.bytes = new Uint8Array(byteLength);
  }

  write({ call, storeKey, nowUs, write }: OutgoingWrite): void {
    const { request, steps, wantsBefore } = write;
    this.values.push(call, storeKey, nowUs, request?.id, request?.fingerprint);
    this.values.push(wantsBefore === true ? 1 : 0, steps.length);
    for (const step of steps) this.#step(step);
  }

  #step(step: WriteStep): void {
    const content = contentOf(step);
    this.values.push(
      kindCodes[step.kind],
      step.id,
      "ifVersion" in step ? step.ifVersion : undefined,
      "allowMissing" in step && step.allowMissing === true ? 1 : 0,
      "labels" in step && step.labels !== undefined ? packLabels(step.labels) : undefined,
    );
    this.#derived(derivedOf(step));
    this.values.push(content?.data.byteLength);
    if (content !== undefined) this.#put(content.data);
    const replayed = replayedOf(step);
    if (replayed === undefined) return;
    const { revision, createdRevision, createdUs, updatedUs } = replayed;
    this.values.push(revision, createdRevision, createdUs, updatedUs);
  }

  #derived(derived: DerivedData | undefined): void {
    this.values.push(derived?.document);
    if (derived === undefined) return;
    const { shape, expiresUs, texts, vectors } = derived;
    this.values.push(shape, expiresUs, texts.length);
    for (const fields of texts) this.values.push(fields.length, ...fields);
    this.values.push(vectors.length);
    for (const vector of vectors) {
      if (!(vector instanceof Float32Array)) {
        this.values.push(vector);
        continue;
      }
      this.values.push(vector.length);
      this.#offset = aligned(this.#offset);
      this.#put(new Uint8Array(vector.buffer, vector.byteOffset, vector.byteLength));
    }
  }

  #put(bytes: Uint8Array): void {
    this.bytes.set(bytes, this.#offset);
    this.#offset += bytes.byteLength;
  }
}

export function unpackWrites(packed: PackedWrites): IncomingWrite[] {
  const unpacker = new Unpacker(packed);
  const writes: IncomingWrite[] = [];
  while (!unpacker.atEnd) writes.push(unpacker.write());
  return writes;
}

/** The types of what it takes are as {@link Packer} has put it. */
class Unpacker {
  readonly #values: readonly WireValue[];
  readonly #bytes: ArrayBuffer;
  #at = 0;
  #offset = 0;
  /** Size of the write that is being read, about. */
  #size = 0;

  constructor({ values, bytes }: PackedWrites) {
    this.#values = values;
    this.#bytes = bytes;
  }

  get atEnd(): boolean {
    return this.#at >= this.#values.length;
  }

  write(): IncomingWrite {
    const call = this.#next() as number;
    const storeKey = this.#next() as string;
    const nowUs = this.#next() as bigint;
    const id = this.#next() as string | undefined;
    const fingerprint = this.#next() as string | undefined;
    const wantsBefore = this.#next() === 1;
    const stepCount = this.#next() as number;
    const steps: IncomingStep[] = [];
    this.#size = 0;
    for (let step = 0; step < stepCount; step++) steps.push(this.#step());
    const request = id === undefined || fingerprint === undefined ? undefined : { id, fingerprint };
    return { call, storeKey, nowUs, steps, request, wantsBefore, byteLength: this.#size };
  }

  #step(): IncomingStep {
    const kind = kinds[this.#next() as number] as StepKind;
    const id = this.#next() as string;
    const ifVersion = this.#next() as bigint | undefined;
    const allowMissing = this.#next() === 1;
    const labels = this.#next() as string | undefined;
    const derived = this.#derived();
    const dataLength = this.#next() as number | undefined;
    let data: Uint8Array | undefined;
    if (dataLength !== undefined) {
      data = new Uint8Array(this.#bytes, this.#offset, dataLength);
      this.#take(dataLength);
    }
    const replays = kind === "replay" || kind === "replayDelete";
    const replayed = replays ? this.#replayed() : undefined;
    return { kind, id, ifVersion, allowMissing, labels, derived, data, replayed };
  }

  #replayed(): Replayed {
    return {
      revision: this.#next() as bigint,
      createdRevision: this.#next() as bigint,
      createdUs: this.#next() as bigint,
      updatedUs: this.#next() as bigint,
    };
  }

  #derived(): DerivedData | undefined {
    const document = this.#next() as string | undefined;
    if (document === undefined) return undefined;
    this.#size += document.length;
    const shape = this.#next() as bigint;
    const expiresUs = this.#next() as bigint | undefined;
    const texts: (readonly string[])[] = [];
    for (let left = this.#next() as number; left > 0; left--) {
      const length = this.#next() as number;
      texts.push(this.#values.slice(this.#at, this.#at + length) as string[]);
      this.#at += length;
    }
    const vectors: (Float32Array | "keep" | undefined)[] = [];
    for (let left = this.#next() as number; left > 0; left--) vectors.push(this.#vector());
    return { document, shape, expiresUs, texts, vectors };
  }

  #vector(): Float32Array | "keep" | undefined {
    const length = this.#next() as number | "keep" | undefined;
    if (typeof length !== "number") return length;
    this.#offset = aligned(this.#offset);
    const vector = new Float32Array(this.#bytes, this.#offset, length);
    this.#take(vector.byteLength);
    return vector;
  }

  #take(byteLength: number): void {
    this.#offset += byteLength;
    this.#size += byteLength;
  }

  #next(): WireValue {
    return this.#values[this.#at++];
  }
}

/** What a write holds in memory until it is done, about. */
export function writeBytes(write: Write): number {
  let total = 256;
  for (const step of write.steps) {
    const derived = derivedOf(step);
    total += 256 + (derived?.document.length ?? 0);
    if (derived === undefined) continue;
    for (const fields of derived.texts) for (const text of fields) total += text.length;
  }
  return total + packedBytes(write);
}

/** Room for the bytes of a write, wherever among others it comes to lie. */
function packedBytes(write: Write): number {
  let total = 0;
  for (const step of write.steps) {
    total += contentOf(step)?.data.byteLength ?? 0;
    for (const vector of derivedOf(step)?.vectors ?? []) {
      if (vector instanceof Float32Array) total += vector.byteLength + vectorAlign;
    }
  }
  return total;
}

function aligned(offset: number): number {
  return Math.ceil(offset / vectorAlign) * vectorAlign;
}

function derivedOf(step: WriteStep): DerivedData | undefined {
  return step.kind === "derive" ? step.derived : contentOf(step);
}

function contentOf(step: WriteStep): RecordContent | undefined {
  const { kind } = step;
  return kind === "create" || kind === "update" || kind === "replay" ? step.content : undefined;
}

function replayedOf(step: WriteStep): Replayed | undefined {
  if (step.kind === "replay") return step;
  if (step.kind !== "replayDelete") return undefined;
  return { revision: step.revision, createdRevision: 0n, createdUs: 0n, updatedUs: step.atUs };
}

function packLabels(labels: Readonly<Record<string, string>>): string {
  for (const _ in labels) return JSON.stringify(labels);
  return noLabels;
}
