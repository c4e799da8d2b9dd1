import type { WirePlan } from "../lib/wire-plan.ts";

/** What records are checked with. */
export interface RecordCheckInput {
  readonly typeName: string;
  /** Of the type. */
  readonly plan: WirePlan;
  /** A FileDescriptorSet that has the type and all it needs. */
  readonly descriptors: Uint8Array;
}

const lengthBytes = 4;

/** As bytes for another process: a length, name and plan as JSON of that length, the descriptors. */
export function writeCheckInput({ descriptors, ...rest }: RecordCheckInput): Uint8Array {
  const head = Buffer.from(JSON.stringify(rest));
  const length = Buffer.alloc(lengthBytes);
  length.writeUInt32BE(head.length);
  return Buffer.concat([length, head, descriptors]);
}

export function readCheckInput(input: Uint8Array): RecordCheckInput {
  const bytes = Buffer.from(input.buffer, input.byteOffset, input.byteLength);
  const end = lengthBytes + bytes.readUInt32BE(0);
  // Written by this program.
  const head = JSON.parse(bytes.toString("utf8", lengthBytes, end)) as Pick<
    RecordCheckInput,
    "typeName" | "plan"
  >;
  return { ...head, descriptors: bytes.subarray(end) };
}
