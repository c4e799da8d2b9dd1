/** Slots at first; a power of two, as every size is. */
const slotsMin = 16;

/** What numbers are spread by: 2^32 divided by the golden ratio. */
const spread = 0x9e37_79b1;

/**
 * The open streams of a connection by their ids, in one array with open addressing: unlike a `Map` it leaves nothing
 * behind, however many come and go. Grows with the streams that are open at a time, and stays as large.
 */
export class StreamTable<Stream extends { readonly id: number }> {
  #slots: (Stream | undefined)[] = newSlots(slotsMin);
  #shift = shiftFor(slotsMin);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get(id: number): Stream | undefined {
    const slots = this.#slots;
    for (let at = this.#home(id); ; at = (at + 1) & (slots.length - 1)) {
      const stream = slots[at];
      if (stream === undefined || stream.id === id) return stream;
    }
  }

  /** Its id must not be there. */
  add(stream: Stream): void {
    if ((this.#size + 1) * 2 > this.#slots.length) this.#grow();
    this.#size += 1;
    this.#put(stream);
  }

  delete(id: number): void {
    const slots = this.#slots;
    const mask = slots.length - 1;
    let hole = this.#home(id);
    while (slots[hole]?.id !== id) {
      if (slots[hole] === undefined) return;
      hole = (hole + 1) & mask;
    }
    this.#size -= 1;
    // Whatever stands behind the hole and could not be found past it, moves into it.
    for (let at = (hole + 1) & mask; ; at = (at + 1) & mask) {
      const stream = slots[at];
      if (stream === undefined) break;
      const fromHome = (at - this.#home(stream.id)) & mask;
      if (fromHome < ((at - hole) & mask)) continue;
      slots[hole] = stream;
      hole = at;
    }
    slots[hole] = undefined;
  }

  /** Those that are open now, whatever happens to them meanwhile; in no order. */
  values(): readonly Stream[] {
    return this.#slots.filter((stream) => stream !== undefined);
  }

  #home(id: number): number {
    return Math.imul(id, spread) >>> this.#shift;
  }

  #put(stream: Stream): void {
    const slots = this.#slots;
    let at = this.#home(stream.id);
    while (slots[at] !== undefined) at = (at + 1) & (slots.length - 1);
    slots[at] = stream;
  }

  #grow(): void {
    const before = this.#slots;
    this.#slots = newSlots(before.length * 2);
    this.#shift = shiftFor(this.#slots.length);
    for (const stream of before) if (stream !== undefined) this.#put(stream);
  }
}

function newSlots<T>(length: number): (T | undefined)[] {
  return Array.from({ length }, () => undefined);
}

function shiftFor(length: number): number {
  return 32 - Math.log2(length);
}
