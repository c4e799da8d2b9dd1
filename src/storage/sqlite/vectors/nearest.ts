/** The nearest of what was offered: at most a number of them, and how far the last is. */
export class Nearest {
  readonly #count: number;
  /** A heap: none is farther than its parent, the first is the farthest. */
  readonly #seqs: number[] = [];
  readonly #distances: number[] = [];

  /** @param count at least 1 */
  constructor(count: number) {
    this.#count = count;
  }

  /** What is farther than this is not among the nearest. */
  get reach(): number {
    return this.#seqs.length < this.#count
      ? Number.POSITIVE_INFINITY
      : (this.#distances[0] ?? Number.POSITIVE_INFINITY);
  }

  offer(seq: number, distance: number): void {
    if (this.#seqs.length < this.#count) {
      this.#seqs.push(seq);
      this.#distances.push(distance);
      this.#rise(this.#seqs.length - 1);
    } else if (this.#isFarther(0, seq, distance)) {
      this.#seqs[0] = seq;
      this.#distances[0] = distance;
      this.#sink();
    }
  }

  /** The nearest first; of equal distance, in order of `seq`. */
  sorted(): { readonly seq: number; readonly distance: number }[] {
    return this.#seqs
      .map((seq, at) => ({ seq, distance: this.#distances[at] ?? 0 }))
      .sort((a, b) => a.distance - b.distance || a.seq - b.seq);
  }

  #rise(from: number): void {
    let at = from;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!this.#isFarther(at, this.#seqs[parent] ?? 0, this.#distances[parent] ?? 0)) return;
      this.#swap(at, parent);
      at = parent;
    }
  }

  #sink(): void {
    let at = 0;
    while (true) {
      let farthest = at;
      for (const child of [2 * at + 1, 2 * at + 2]) {
        if (child >= this.#seqs.length) break;
        if (this.#isFarther(child, this.#seqs[farthest] ?? 0, this.#distances[farthest] ?? 0)) {
          farthest = child;
        }
      }
      if (farthest === at) return;
      this.#swap(at, farthest);
      at = farthest;
    }
  }

  #isFarther(at: number, seq: number, distance: number): boolean {
    const own = this.#distances[at] ?? 0;
    return own > distance || (own === distance && (this.#seqs[at] ?? 0) > seq);
  }

  #swap(left: number, right: number): void {
    const seq = this.#seqs[left] ?? 0;
    const distance = this.#distances[left] ?? 0;
    this.#seqs[left] = this.#seqs[right] ?? 0;
    this.#distances[left] = this.#distances[right] ?? 0;
    this.#seqs[right] = seq;
    this.#distances[right] = distance;
  }
}

export interface Candidate {
  readonly seq: number;
  /** It is not nearer than this. */
  readonly least: number;
}

/** What may be among the `k` nearest, by bounds of its distance. */
export class Candidates {
  readonly #sure: Nearest;
  #items: Candidate[] = [];
  #sizeMax: number;

  constructor(k: number) {
    this.#sure = new Nearest(k);
    this.#sizeMax = 4 * k + 4096;
  }

  offer(seq: number, least: number, most: number): void {
    if (least > this.#sure.reach) return;
    this.#sure.offer(seq, most);
    this.#items.push({ seq, least });
    if (this.#items.length < this.#sizeMax) return;
    this.#prune();
    this.#sizeMax = Math.max(this.#sizeMax, 2 * this.#items.length);
  }

  /** Those that are still possible, by how near they may be. */
  sorted(): readonly Candidate[] {
    this.#prune();
    return this.#items.sort((a, b) => a.least - b.least);
  }

  #prune(): void {
    const { reach } = this.#sure;
    this.#items = this.#items.filter(({ least }) => least <= reach);
  }
}
