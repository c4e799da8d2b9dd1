import { create, toBinary } from "@bufbuild/protobuf";
import {
  CreateRequestSchema,
  DeleteRequestSchema,
  GetRequestSchema,
  ListRequestSchema,
  UpdateRequestSchema,
} from "../../src/gen/collector/collection_server_pb.ts";
import { noteItem } from "../../test/support/notes.ts";
import { Random } from "../../test/support/random.ts";
import { frame } from "../../test/support/raw-call.ts";

/** What to call, again and again. Ids are those of {@link recordId}. */
export type Source =
  | { readonly kind: "fixed"; readonly path: string; readonly message: Uint8Array }
  /** Random ones of the first `records` records. */
  | { readonly kind: "get"; readonly collectionName: string; readonly records: number }
  /** New records with ids that the server makes. */
  | { readonly kind: "create"; readonly collectionName: string }
  | { readonly kind: "update"; readonly collectionName: string; readonly records: number }
  /** The records from `first` on, one after the other. */
  | { readonly kind: "delete"; readonly collectionName: string; readonly first: number }
  | { readonly kind: "list"; readonly collectionName: string; readonly pageSize: number };

/** Messages ready to be sent; the buffer is valid until the next one is asked for. */
export interface Messages {
  readonly path: string;
  next(): Buffer;
}

const service = "/collector.CollectionService";
const idDigits = 8;

/** How many different records are written before their content repeats. */
const distinctNotes = 20_000;

/** The id of record `number` of a prepared collection. */
export function recordId(number: number): string {
  return `r${String(number).padStart(idDigits, "0")}`;
}

/** Makes what is needed beforehand, so that a message costs next to nothing when it is asked for. */
export function messagesOf(source: Source): Messages {
  const random = new Random(1);
  switch (source.kind) {
    case "fixed": {
      const framed = frame(source.message);
      return { path: source.path, next: () => framed };
    }
    case "get": {
      const request = create(GetRequestSchema, { ...named(source), id: recordId(0) });
      const withId = template(toBinary(GetRequestSchema, request));
      return { path: `${service}/Get`, next: () => withId(random.below(source.records)) };
    }
    case "create": {
      const all = Array.from({ length: distinctNotes }, (_, index) => {
        const request = create(CreateRequestSchema, { ...named(source), item: noteItem(index) });
        return frame(toBinary(CreateRequestSchema, request));
      });
      return { path: `${service}/Create`, next: () => random.pick(all) };
    }
    case "update": {
      const all = Array.from({ length: 1_000 }, (_, index) => {
        const content = { ...named(source), id: recordId(0), item: noteItem(index) };
        return template(toBinary(UpdateRequestSchema, create(UpdateRequestSchema, content)));
      });
      const next = () => random.pick(all)(random.below(source.records));
      return { path: `${service}/Update`, next };
    }
    case "delete": {
      const request = create(DeleteRequestSchema, { ...named(source), id: recordId(0) });
      const withId = template(toBinary(DeleteRequestSchema, request));
      let number = source.first;
      return { path: `${service}/Delete`, next: () => withId(number++) };
    }
    case "list": {
      const { pageSize } = source;
      const request = create(ListRequestSchema, { ...named(source), pageSize });
      const framed = frame(toBinary(ListRequestSchema, request));
      return { path: `${service}/List`, next: () => framed };
    }
    default:
      return source satisfies never;
  }
}

function named(source: { readonly collectionName: string }): { collectionName: string } {
  return { collectionName: source.collectionName };
}

/** A message that holds the id of record 0; returns how to put another record's id in its place. */
function template(message: Uint8Array): (number: number) => Buffer {
  const framed = frame(message);
  const first = framed.indexOf(recordId(0)) + 1;
  return (number) => {
    let rest = number;
    for (let digit = idDigits - 1; digit >= 0; digit -= 1) {
      framed[first + digit] = 48 + (rest % 10);
      rest = Math.floor(rest / 10);
    }
    return framed;
  };
}
