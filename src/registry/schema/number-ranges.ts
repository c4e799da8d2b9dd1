/** A range of numbers, both ends included. */
export interface NumberRange {
  readonly first: number;
  readonly last: number;
}

/** A set of ranges of numbers, to ask about single numbers and about other ranges. */
export class NumberRanges {
  /** In order, without overlaps; neighbours are joined. */
  readonly #ranges: readonly NumberRange[];
  /** A pair of the given ranges that overlap, or undefined. */
  readonly overlap: readonly [NumberRange, NumberRange] | undefined;

  constructor(ranges: readonly NumberRange[]) {
    const sorted = ranges.toSorted((a, b) => a.first - b.first || a.last - b.last);
    const joined: NumberRange[] = [];
    let overlap: readonly [NumberRange, NumberRange] | undefined;
    for (const range of sorted) {
      const previous = joined.at(-1);
      if (previous === undefined || range.first > previous.last + 1) {
        joined.push(range);
        continue;
      }
      if (range.first <= previous.last) overlap ??= [previous, range];
      joined[joined.length - 1] = {
        first: previous.first,
        last: Math.max(previous.last, range.last),
      };
    }
    this.#ranges = joined;
    this.overlap = overlap;
  }

  has(number: number): boolean {
    return this.covers({ first: number, last: number });
  }

  /** Whether every number of `range` is in the set. */
  covers(range: NumberRange): boolean {
    const found = this.#lastStartingAtOrBefore(range.first);
    return found !== undefined && range.last <= found.last;
  }

  /** A range of the set that shares a number with `other`'s, or undefined. */
  intersection(other: NumberRanges): NumberRange | undefined {
    return this.#ranges.find((range) => {
      const found = other.#lastStartingAtOrBefore(range.last);
      return found !== undefined && found.last >= range.first;
    });
  }

  #lastStartingAtOrBefore(number: number): NumberRange | undefined {
    let low = 0;
    let high = this.#ranges.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const range = this.#ranges[middle];
      if (range !== undefined && range.first <= number) low = middle + 1;
      else high = middle;
    }
    return this.#ranges[low - 1];
  }
}

/** Reserved and extension ranges of messages end before their `end`. */
export function messageRanges(
  ranges: readonly { readonly start: number; readonly end: number }[],
): NumberRange[] {
  return ranges.map(({ start, end }) => ({ first: start, last: end - 1 }));
}

/** Reserved ranges of enums include their `end`. */
export function enumRanges(
  ranges: readonly { readonly start: number; readonly end: number }[],
): NumberRange[] {
  return ranges.map(({ start, end }) => ({ first: start, last: end }));
}
