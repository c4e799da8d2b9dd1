import type { HeaderList } from "../grpc/server-stream.ts";
import { BlockWriter, blockBytesOf, literal, staticIndexOf } from "./block-writer.ts";

const secrets: ReadonlySet<string> = new Set(["authorization", "set-cookie"]);

/**
 * Makes header blocks of answers (RFC 7541). The peer's table is not used, so a block is good at any time, and those of
 * the last answer are kept: nearly all begin and end alike.
 */
export class AnswerHeaders {
  readonly #openings = new LastBlock();
  readonly #closings = new LastBlock();

  /** The block that opens an answer, or is all of it. */
  opening(list: HeaderList): Uint8Array {
    return this.#openings.of(list);
  }

  /** The block behind the data. */
  closing(list: HeaderList): Uint8Array {
    return this.#closings.of(list);
  }
}

/** A list that is the same object as the last one has the same block: lists do not change. */
class LastBlock {
  #list: HeaderList | undefined;
  #block: Uint8Array = new Uint8Array();

  of(list: HeaderList): Uint8Array {
    if (list !== this.#list) {
      this.#block = encode(list);
      this.#list = list;
    }
    return this.#block;
  }
}

function encode(list: HeaderList): Uint8Array {
  const out = new BlockWriter(blockBytesOf(list));
  for (let i = 0; i + 1 < list.length; i += 2) {
    const name = list[i] ?? "";
    const value = list[i + 1] ?? "";
    const index = staticIndexOf(name, value);
    if (index !== undefined) out.index(index);
    else out.header(secrets.has(name) ? literal.secret : literal.plain, name, value);
  }
  return out.done();
}
