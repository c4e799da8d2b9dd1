import { CollectorError } from "../errors.ts";
import { costOf, partBytesMax, tunnelFault, windowBytes } from "./frames.ts";

/** So much is taken before the other side hears of it. */
const grantBytesMin = windowBytes / 4;

type Item = IteratorResult<Uint8Array, undefined>;

export interface InboxOptions {
  readonly messageBytesMax: number;
  /** Tells the other side that it may send so much more. */
  readonly grant: (bytes: number) => void;
  /** Whoever read wants no more. */
  readonly onReturn: () => void;
}

/**
 * The messages of one side of a call as they come in. What waits to be read is never more than the
 * window, beside the one message that a reader waits for. Iterated once.
 */
export class Inbox implements AsyncIterableIterator<Uint8Array, undefined> {
  readonly #options: InboxOptions;
  readonly #queue: { readonly message: Uint8Array; readonly cost: number }[] = [];
  #parts: Uint8Array[] = [];
  #partBytes = 0;
  /** What the parts cost that are not given back yet. */
  #partCost = 0;
  /** What came and was not given back. */
  #held = 0;
  /** What of that was taken, and is given back soon. */
  #taken = 0;
  #waiter: PromiseWithResolvers<Item> | undefined;
  #isEnded = false;
  #isDiscarding = false;
  #failure: Error | undefined;

  constructor(options: InboxOptions) {
    this.#options = options;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** Whether a message has begun and not ended. */
  get isAmidMessage(): boolean {
    return this.#partBytes > 0 || this.#parts.length > 0;
  }

  /**
   * A piece of a message has come.
   *
   * @throws {CollectorError} ARGUMENT_INVALID if the window does not allow it; MESSAGE_TOO_LARGE, which
   * concerns this call alone
   */
  accept(callId: bigint, bytes: Uint8Array, isLast: boolean): void {
    const { messageBytesMax } = this.#options;
    if (bytes.byteLength > partBytesMax) {
      const text = `${bytes.byteLength} bytes of a message at once, the limit is ${partBytesMax}`;
      throw tunnelFault(callId, text);
    }
    const cost = costOf(bytes.byteLength);
    this.#held += cost;
    if (this.#held > windowBytes) throw tunnelFault(callId, "more than its window allows");
    if (this.#isDiscarding) return;
    const length = this.#partBytes + bytes.byteLength;
    if (length > messageBytesMax) {
      throw new CollectorError(
        "MESSAGE_TOO_LARGE",
        `a message has ${length} bytes or more, the limit is ${messageBytesMax} (messageBytesMax)`,
      );
    }
    if (!isLast) {
      this.#parts.push(bytes.slice());
      this.#partBytes = length;
      this.#partCost += cost;
      if (this.#waiter !== undefined) this.#takeParts();
      return;
    }
    const isWhole = this.#parts.length === 0;
    const message = isWhole ? bytes : Buffer.concat([...this.#parts, bytes], length);
    const total = cost + this.#partCost;
    this.#parts = [];
    this.#partBytes = 0;
    this.#partCost = 0;
    const waiter = this.#waiter;
    if (waiter !== undefined) {
      this.#waiter = undefined;
      this.#take(total);
      waiter.resolve({ value: message });
    } else {
      // What waits must not hold on to the buffer that it came in.
      this.#queue.push({ message: isWhole ? bytes.slice() : message, cost: total });
    }
  }

  /** No more will come. @param failure what whoever reads gets after the messages that are there */
  end(failure?: Error): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#failure = failure;
    this.#parts = [];
    if (this.#waiter !== undefined) this.#settle(this.#waiter);
  }

  /** Whoever reads gets the failure at once; what else comes is dropped. */
  abort(failure: Error): void {
    this.discard();
    this.#isEnded = true;
    this.#failure = failure;
    if (this.#waiter !== undefined) this.#settle(this.#waiter);
  }

  /** Drops what is there, and what comes. */
  discard(): void {
    this.#isDiscarding = true;
    this.#queue.length = 0;
    this.#parts = [];
    this.#partBytes = 0;
  }

  next(): Promise<Item> {
    if (this.#waiter !== undefined) {
      return Promise.reject(new TypeError("messages are read one at a time"));
    }
    const first = this.#queue.shift();
    if (first !== undefined) {
      this.#take(first.cost);
      return Promise.resolve({ value: first.message });
    }
    const waiter = Promise.withResolvers<Item>();
    this.#waiter = waiter;
    if (this.#isEnded || this.#isDiscarding) this.#settle(waiter);
    else this.#takeParts();
    return waiter.promise;
  }

  return(): Promise<Item> {
    const isOver = this.#isEnded && this.#queue.length === 0;
    this.discard();
    this.#failure = undefined;
    if (this.#waiter !== undefined) this.#settle(this.#waiter);
    if (!isOver) this.#options.onReturn();
    return Promise.resolve({ done: true, value: undefined });
  }

  #settle(waiter: PromiseWithResolvers<Item>): void {
    this.#waiter = undefined;
    const failure = this.#failure;
    this.#failure = undefined;
    if (failure === undefined) waiter.resolve({ done: true, value: undefined });
    else waiter.reject(failure);
  }

  #takeParts(): void {
    if (this.#partCost === 0) return;
    this.#take(this.#partCost);
    this.#partCost = 0;
  }

  #take(cost: number): void {
    this.#taken += cost;
    if (this.#taken < grantBytesMin || this.#isEnded) return;
    const bytes = this.#taken;
    this.#taken = 0;
    this.#held -= bytes;
    this.#options.grant(bytes);
  }
}
