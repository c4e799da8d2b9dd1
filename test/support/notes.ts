import { join } from "node:path";
import {
  create,
  createFileRegistry,
  type DescMessage,
  fromBinary,
  type Message,
  toBinary,
} from "@bufbuild/protobuf";
import { type Any, AnySchema, type FileDescriptorProto } from "@bufbuild/protobuf/wkt";
import { compileProto } from "./compile-proto.ts";
import { Random } from "./random.ts";

/** What a note holds; see `proto/notes/v1/note.proto`. */
export interface Note {
  title: string;
  body: string;
  author: { name: string; born: number };
  priceCents: bigint;
  tags: string[];
  counters: Record<string, bigint>;
  writing: bigint;
  thumbnail: Uint8Array;
}

const compiled = compileProto(join(import.meta.dirname, "proto"));

/** Full name of the message type that tests and benchmarks store. */
export const noteTypeName = "notes.v1.Note";

/** The file to register before a collection of notes is created. */
export const noteFile: FileDescriptorProto = fileNamed("notes/v1/note.proto");

export const noteDesc: DescMessage = messageNamed(noteTypeName);

/**
 * Any number gives a note of its own, always the same: about 300 bytes with some 20 common words. One word of
 * the title, `n` and the number, is in no other.
 */
export function noteOf(number: number): Note {
  const random = new Random(number);
  const wordsOf = (count: number) => Array.from({ length: count }, () => word(random)).join(" ");
  return {
    title: `${wordsOf(4)} n${number}`,
    body: wordsOf(12),
    author: { name: `${word(random)} ${word(random)}`, born: random.between(1900, 2010) },
    priceCents: BigInt(random.below(1_000_000)),
    tags: [word(random), word(random)],
    counters: { [word(random)]: BigInt(random.below(1000)) },
    writing: BigInt(number),
    thumbnail: Uint8Array.from({ length: 128 }, () => random.below(256)),
  };
}

export function encodeNote(note: Note): Uint8Array {
  return toBinary(noteDesc, create(noteDesc, { ...note }));
}

export function decodeNote(bytes: Uint8Array): Note {
  return fromBinary(noteDesc, bytes) as Message as Message & Note;
}

/** The note of `number` as calls carry it. */
export function noteItem(number: number): Any {
  return create(AnySchema, {
    typeUrl: `type.googleapis.com/${noteTypeName}`,
    value: encodeNote(noteOf(number)),
  });
}

/** One of about 1,000 words; the frequency falls with the rank, as in a language. */
function word(random: Random): string {
  const rank = Math.floor(1000 ** random.next()) - 1;
  return `${syllables[rank % 10]}${syllables[Math.floor(rank / 10) % 10]}${syllables[Math.floor(rank / 100)]}`;
}

const syllables = ["ba", "do", "ke", "li", "mu", "na", "po", "ri", "su", "te"];

function fileNamed(name: string): FileDescriptorProto {
  const file = compiled.file.find((candidate) => candidate.name === name);
  if (file === undefined) throw new Error(`buf did not compile ${name}`);
  return file;
}

function messageNamed(name: string): DescMessage {
  const message = createFileRegistry(compiled).getMessage(name);
  if (message === undefined) throw new Error(`buf found no message ${name}`);
  return message;
}
