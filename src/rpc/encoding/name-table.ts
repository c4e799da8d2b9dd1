const slotCount = 1024;

/** Longer texts are no names. */
const bytesMax = 64;

/**
 * Texts that come again with every call: names of namespaces, services, methods and types. The text of
 * known bytes is found without making it anew, and a map that is asked with it knows its hash. At most
 * `slotCount` texts of `bytesMax` bytes are kept; a new one takes the place of another.
 */
export class NameTable {
  readonly #slots: string[] = Array.from({ length: slotCount }, () => "");

  /** The text of bytes that are ASCII; undefined for others, and for what is too long for a name. */
  find(bytes: Buffer, start: number, end: number): string | undefined {
    const length = end - start;
    if (length > bytesMax) return undefined;
    let hash = length;
    for (let index = start; index < end; index += 1) {
      const byte = bytes[index] ?? 0x80;
      if (byte >= 0x80) return undefined;
      hash = (hash * 31 + byte) | 0;
    }
    const slot = (hash ^ (hash >>> 10)) & (slotCount - 1);
    const known = this.#slots[slot] ?? "";
    if (isText(known, bytes, start, length)) return known;
    const text = bytes.toString("latin1", start, end);
    this.#slots[slot] = text;
    return text;
  }
}

function isText(text: string, bytes: Buffer, start: number, length: number): boolean {
  if (text.length !== length) return false;
  for (let index = 0; index < length; index += 1) {
    if (text.charCodeAt(index) !== bytes[start + index]) return false;
  }
  return true;
}
