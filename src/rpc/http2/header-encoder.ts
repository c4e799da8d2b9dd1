import type { HeaderList } from "../grpc/server-stream.ts";
import { BlockWriter, blockBytesOf, dropTable, literal, staticIndexOf } from "./block-writer.ts";
import { headerOverheadBytes, staticHeaders, tableBytesDefault } from "./static-headers.ts";

/** Of the peer's table no more is used, so that nothing in it is ever pushed out. */
const tableBytesUsed = tableBytesDefault - 512;

/** Beginnings of blocks that are remembered. */
const beginningsMax = 500;

const secrets: ReadonlySet<string> = new Set(["authorization", "cookie"]);

interface Beginning {
  /** What had been put into the table when it was made; once more is, its indexes are others. */
  readonly kept: number;
  readonly block: Buffer;
}

/**
 * Makes the header blocks of one connection (RFC 7541). What each request begins with goes into the
 * peer's table; nothing else does, and so the table never changes once it holds that.
 */
export class HeaderEncoder {
  #table: Map<string, number> | undefined = new Map();
  #tableBytes = 0;
  /** The peer is told with the next block that the table is not used any more. */
  #hasToDrop = false;
  readonly #beginnings = new Map<string, Beginning>();

  /** What the peer says of its table. A smaller one than usual is not used at all. */
  limitTable(bytes: number): void {
    if (bytes >= tableBytesDefault || this.#table === undefined) return;
    this.#table = undefined;
    this.#hasToDrop = true;
    this.#beginnings.clear();
  }

  /**
   * @param base what is the same for all requests of a connection
   * @param path put before that, as `:path`
   * @param rest of this request alone
   */
  encode(base: HeaderList, path: string, rest: HeaderList): Buffer {
    const beginning = this.#beginningOf(base, path);
    if (rest.length === 0 && !this.#hasToDrop) return beginning;
    const out = new BlockWriter(1 + beginning.byteLength + blockBytesOf(rest));
    if (this.#hasToDrop) out.copy(dropTable);
    this.#hasToDrop = false;
    out.copy(beginning);
    for (let i = 0; i + 1 < rest.length; i += 2) {
      const name = rest[i] ?? "";
      out.header(secrets.has(name) ? literal.secret : literal.plain, name, rest[i + 1] ?? "");
    }
    return out.done();
  }

  #beginningOf(base: HeaderList, path: string): Buffer {
    const known = this.#beginnings.get(path);
    if (known !== undefined && known.kept === (this.#table?.size ?? 0)) return known.block;
    const list = [":path", path, ...base];
    const before = this.#table?.size ?? 0;
    const out = new BlockWriter(blockBytesOf(list));
    for (let i = 0; i + 1 < list.length; i += 2) this.#add(out, list[i] ?? "", list[i + 1] ?? "");
    const block = out.done();
    const kept = this.#table?.size ?? 0;
    // One that puts something into the table is good for once only.
    if (kept === before) {
      if (this.#beginnings.size >= beginningsMax) this.#beginnings.clear();
      this.#beginnings.set(path, { kept, block });
    }
    return block;
  }

  #add(out: BlockWriter, name: string, value: string): void {
    const key = `${name}\n${value}`;
    const fixed = staticIndexOf(name, value);
    if (fixed !== undefined) {
      out.index(fixed);
      return;
    }
    const table = this.#table;
    const at = table?.get(key);
    if (table !== undefined && at !== undefined) {
      out.index(staticHeaders.length + table.size - at);
      return;
    }
    const bytes = name.length + value.length + headerOverheadBytes;
    if (table === undefined || this.#tableBytes + bytes > tableBytesUsed) {
      out.header(literal.plain, name, value);
      return;
    }
    table.set(key, table.size);
    this.#tableBytes += bytes;
    out.header(literal.kept, name, value);
  }
}
