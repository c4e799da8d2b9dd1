import { DotProducts, rowUnit } from "./dot-products.ts";

/**
 * Vectors in one byte per dimension, by which a search finds the few that it has to look at in full.
 * A code stands for a vector that is near the real one; `error` says how near, so distances by codes
 * have proven bounds.
 *
 * The codes of up to 64 neighbouring records lie in one block: their heads of 16 bytes, then the codes,
 * in rows that are filled up with zeros to a multiple of 16 bytes.
 */

const headBytes = 16;
const codeMax = 127;

/** Records whose vectors share a block. */
export const blockRecords = 64n;

/** Above this, the integers of a point would not fit, or the sums of products would not. */
const integerMax = 32_767;
const integersSumMax = 2 ** 24 - 2 ** 16;

/** Leaves room for what is lost when distances are computed in doubles, here and exactly. */
const roundingShare = 1e-6;

/** The codes of a block, as they are stored. Positions count from 0. */
export interface Block {
  readonly count: number;
  /** At 4 × position: the record's place in the block, and the sum of the squares of its codes. */
  readonly integers: Int32Array;
  /** At 4 × position + 2: what one step of a code is worth, and how far the vector may be off. */
  readonly floats: Float32Array;
  readonly rowLength: number;
  readonly codes: Int8Array;
}

function rowLengthOf(dimensions: number): number {
  return Math.ceil(dimensions / rowUnit) * rowUnit;
}

/** @returns undefined if the bytes are no block of such vectors */
export function readBlock(bytes: Uint8Array, dimensions: number): Block | undefined {
  const rowLength = rowLengthOf(dimensions);
  const count = bytes.byteLength / (headBytes + rowLength);
  if (!Number.isInteger(count) || count > Number(blockRecords)) return undefined;
  const { buffer, byteOffset } = bytes.byteOffset % 4 === 0 ? bytes : bytes.slice();
  return {
    count,
    integers: new Int32Array(buffer, byteOffset, count * 4),
    floats: new Float32Array(buffer, byteOffset, count * 4),
    rowLength,
    codes: new Int8Array(buffer, byteOffset + count * headBytes, count * rowLength),
  };
}

/** The position of a record in a block; -1 if it is not there. */
function positionOf({ count, integers }: Block, place: number): number {
  for (let position = 0; position < count; position++) {
    if (integers[4 * position] === place) return position;
  }
  return -1;
}

/**
 * Puts a vector into a block, in place of the one that its record has there.
 *
 * @param block undefined for a new one
 * @param bytes the block's bytes, which may be changed
 * @param vector scaled to length 1 where only its direction counts
 */
export function putVector(
  bytes: Uint8Array | undefined,
  block: Block | undefined,
  place: number,
  vector: Float64Array,
): Uint8Array {
  const dimensions = vector.length;
  let target = block;
  let result = bytes;
  let position = block === undefined ? -1 : positionOf(block, place);
  if (target === undefined || result === undefined || position < 0) {
    position = block?.count ?? 0;
    result = new Uint8Array((position + 1) * (headBytes + rowLengthOf(dimensions)));
    target = readBlock(result, dimensions);
    if (target === undefined) throw new RangeError("a block is full");
    if (block !== undefined) copyEntries(block, target, -1);
  }
  const codes = target.codes.subarray(position * target.rowLength);
  const { squares, step, error } = encode(vector, codes);
  target.integers[4 * position] = place;
  target.integers[4 * position + 1] = squares;
  target.floats[4 * position + 2] = step;
  target.floats[4 * position + 3] = error;
  return new Uint8Array(target.integers.buffer, target.integers.byteOffset, result.byteLength);
}

/** The block without a record; undefined if nothing is left. */
export function withoutVector(
  block: Block,
  place: number,
  dimensions: number,
): Uint8Array | undefined {
  const position = positionOf(block, place);
  const count = position < 0 ? block.count : block.count - 1;
  if (count === 0) return undefined;
  const bytes = new Uint8Array(count * (headBytes + block.rowLength));
  const target = readBlock(bytes, dimensions);
  if (target !== undefined) copyEntries(block, target, position);
  return bytes;
}

function copyEntries(from: Block, to: Block, without: number): void {
  let next = 0;
  for (let position = 0; position < from.count; position++) {
    if (position === without) continue;
    to.integers.set(from.integers.subarray(4 * position, 4 * position + 4), 4 * next);
    const codes = from.codes.subarray(position * from.rowLength, (position + 1) * from.rowLength);
    to.codes.set(codes, next * to.rowLength);
    next++;
  }
}

/** Writes the codes of a vector, and says what they leave out. */
function encode(
  vector: Float64Array,
  codes: Int8Array,
): { readonly squares: number; readonly step: number; readonly error: number } {
  let largest = 0;
  for (const value of vector) largest = Math.max(largest, Math.abs(value));
  const step = Math.fround(largest / codeMax);
  let squares = 0;
  let left = 0;
  for (let at = 0; at < vector.length; at++) {
    const value = vector[at] ?? 0;
    const code = step === 0 ? 0 : clamp(Math.round(value / step));
    codes[at] = code;
    squares += code * code;
    left += (value - code * step) ** 2;
  }
  return { squares, step, error: roundUp(Math.sqrt(left)) };
}

function clamp(code: number): number {
  return Math.max(-codeMax, Math.min(codeMax, code));
}

/** The smallest number of 32 bits or so that is not less. */
function roundUp(value: number): number {
  return Math.fround(value * (1 + 1e-6) + 1e-45);
}

/** A point that codes are compared with, in integers too: their products are exact. */
export class CodedPoint {
  readonly #products: DotProducts;
  readonly #step: number;
  /** The length of what the integers stand for. */
  readonly #length: number;
  /** How far that is off the point. */
  readonly #error: number;

  constructor(point: Float64Array) {
    let sum = 0;
    let largest = 0;
    for (const value of point) {
      sum += Math.abs(value);
      largest = Math.max(largest, Math.abs(value));
    }
    this.#step = Math.max(largest / integerMax, sum / integersSumMax);
    const integers = new Int16Array(rowLengthOf(point.length));
    let squared = 0;
    let left = 0;
    for (const [at, value] of point.entries()) {
      const integer = this.#step === 0 ? 0 : Math.round(value / this.#step);
      integers[at] = integer;
      squared += (integer * this.#step) ** 2;
      left += (value - integer * this.#step) ** 2;
    }
    this.#length = Math.sqrt(squared);
    this.#error = Math.sqrt(left);
    this.#products = new DotProducts(integers, Number(blockRecords));
  }

  /**
   * Writes the Euclidean distance of each entry of a block by its codes into `distances`, and how far
   * the real one may be off at most into `errors`.
   */
  measure(
    { count, integers, floats, codes }: Block,
    distances: Float64Array,
    errors: Float64Array,
  ): void {
    const products = this.#products.of(codes);
    for (let position = 0; position < count; position++) {
      const step = floats[4 * position + 2] ?? 0;
      const squared = step * step * (integers[4 * position + 1] ?? 0);
      const product = step * this.#step * (products[position] ?? 0);
      const distance = Math.sqrt(Math.max(0, squared + this.#length ** 2 - 2 * product));
      distances[position] = distance;
      errors[position] =
        (floats[4 * position + 3] ?? 0) +
        this.#error +
        roundingShare * (Math.sqrt(squared) + this.#length);
    }
  }
}
