import type { RecordContent, Write, WriteStep } from "../../record-store.ts";

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
  readonly document: string | undefined;
  readonly texts: readonly string[];
  /** Undefined if the step leaves the record's bytes alone. */
  readonly data: Uint8Array | undefined;
}

const kinds: readonly StepKind[] = ["create", "update", "delete", "derive"];
const kindCodes: Readonly<Record<StepKind, number>> = {
  create: 0,
  update: 1,
  delete: 2,
  derive: 3,
};

const noLabels = "{}";
const noTexts: readonly string[] = [];

export function packWrites(writes: readonly OutgoingWrite[]): PackedWrites {
  let total = 0;
  for (const { write } of writes) total += dataBytes(write);
  const bytes = new Uint8Array(total);
  const values: WireValue[] = [];
  let offset = 0;
  for (const { call, storeKey, nowUs, write } of writes) {
    const { request, steps } = write;
    values.push(call, storeKey, nowUs, request?.id, request?.fingerprint, steps.length);
    for (const step of steps) {
      const content = contentOf(step);
      const derived = step.kind === "derive" ? step.derived : content;
      values.push(
        kindCodes[step.kind],
        step.id,
        step.kind === "create" ? undefined : step.ifVersion,
        "allowMissing" in step && step.allowMissing === true ? 1 : 0,
        "labels" in step && step.labels !== undefined ? packLabels(step.labels) : undefined,
        derived?.document,
      );
      const texts = derived?.texts ?? noTexts;
      values.push(texts.length);
      for (const text of texts) values.push(text);
      if (content === undefined) {
        values.push(undefined);
      } else {
        bytes.set(content.data, offset);
        offset += content.data.byteLength;
        values.push(content.data.byteLength);
      }
    }
  }
  return { values, bytes: bytes.buffer };
}

export function unpackWrites({ values, bytes }: PackedWrites): IncomingWrite[] {
  const writes: IncomingWrite[] = [];
  let at = 0;
  let offset = 0;
  while (at < values.length) {
    const call = values[at++] as number;
    const storeKey = values[at++] as string;
    const nowUs = values[at++] as bigint;
    const requestId = values[at++] as string | undefined;
    const fingerprint = values[at++] as string | undefined;
    const stepCount = values[at++] as number;
    const steps: IncomingStep[] = [];
    let byteLength = 0;
    for (let step = 0; step < stepCount; step++) {
      const kind = kinds[values[at++] as number] as StepKind;
      const id = values[at++] as string;
      const ifVersion = values[at++] as bigint | undefined;
      const allowMissing = values[at++] === 1;
      const labels = values[at++] as string | undefined;
      const document = values[at++] as string | undefined;
      const textCount = values[at++] as number;
      const texts = textCount === 0 ? noTexts : (values.slice(at, at + textCount) as string[]);
      at += textCount;
      const dataLength = values[at++] as number | undefined;
      let data: Uint8Array | undefined;
      if (dataLength !== undefined) {
        data = new Uint8Array(bytes, offset, dataLength);
        offset += dataLength;
      }
      byteLength += (dataLength ?? 0) + (document?.length ?? 0);
      steps.push({ kind, id, ifVersion, allowMissing, labels, document, texts, data });
    }
    const request =
      requestId === undefined || fingerprint === undefined
        ? undefined
        : { id: requestId, fingerprint };
    writes.push({ call, storeKey, nowUs, steps, request, byteLength });
  }
  return writes;
}

/** What a write holds in memory until it is done, about. */
export function writeBytes(write: Write): number {
  let total = 256;
  for (const step of write.steps) {
    const derived = step.kind === "derive" ? step.derived : contentOf(step);
    total += 256 + (derived?.document.length ?? 0);
    if (derived !== undefined) for (const text of derived.texts) total += text.length;
  }
  return total + dataBytes(write);
}

function dataBytes(write: Write): number {
  let total = 0;
  for (const step of write.steps) total += contentOf(step)?.data.byteLength ?? 0;
  return total;
}

function contentOf(step: WriteStep): RecordContent | undefined {
  return step.kind === "create" || step.kind === "update" ? step.content : undefined;
}

function packLabels(labels: Readonly<Record<string, string>>): string {
  for (const _ in labels) return JSON.stringify(labels);
  return noLabels;
}
