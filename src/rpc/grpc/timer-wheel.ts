/** Something that waits for a moment. Kept in the wheel by links of its own: no allocation. */
export abstract class WheelEntry {
  /** For the wheel only. */
  wheelNext: WheelEntry | undefined;
  /** For the wheel only. */
  wheelPrevious: WheelEntry | undefined;
  /** For the wheel only: the slot it waits in, -1 for none. */
  wheelSlot = -1;
  /** When it is due, on the wheel's clock, in ms. */
  dueMs = 0;

  /** Called once, when the moment has come; the entry has left the wheel by then. */
  abstract onDue(nowMs: number): void;
}

/** Coarse enough to cost nothing, fine enough for a deadline of 50 ms to be kept by a network. */
const tickMs = 10;
const slotCount = 1024;

/** Longest time that a timer can wait. */
const waitMsMax = 2 ** 31 - 1;

/** After so many ticks in which nothing was due, the wheel stands still until something is. */
const quietTicks = 100;

/**
 * One timer for every deadline of a server. Setting and clearing a moment is a few assignments,
 * against half a microsecond for `setTimeout` and `clearTimeout`; a moment is kept to within two
 * ticks. The timer runs only while something waits soon, and does not keep the process alive.
 */
export class TimerWheel {
  readonly #nowMs: () => number;
  readonly #slots: (WheelEntry | undefined)[] = Array.from({ length: slotCount }, () => undefined);
  #size = 0;
  #tick = 0;
  #timer: NodeJS.Timeout | undefined;
  #quiet = 0;
  /** While the wheel stands still: when it goes on. */
  #standsUntilMs: number | undefined;

  constructor(nowMs: () => number = () => performance.now()) {
    this.#nowMs = nowMs;
  }

  /** Entries that wait. */
  get size(): number {
    return this.#size;
  }

  /** Sets the moment of `entry`, in place of any earlier one. */
  set(entry: WheelEntry, dueMs: number): void {
    this.clear(entry);
    if (this.#timer === undefined) {
      this.#tick = this.#tickAt(this.#nowMs());
      this.#run();
    } else if (this.#standsUntilMs !== undefined && dueMs < this.#standsUntilMs) {
      this.#run();
    }
    // A moment that has passed, or is passing, comes with the next tick.
    const tick = Math.max(this.#tickAt(dueMs) + 1, this.#tick + 1);
    const slot = tick % slotCount;
    const head = this.#slots[slot];
    entry.dueMs = dueMs;
    entry.wheelSlot = slot;
    entry.wheelPrevious = undefined;
    entry.wheelNext = head;
    if (head !== undefined) head.wheelPrevious = entry;
    this.#slots[slot] = entry;
    this.#size += 1;
  }

  /** Forgets the moment of `entry`, if it has one. */
  clear(entry: WheelEntry): void {
    if (entry.wheelSlot < 0) return;
    const { wheelNext: next, wheelPrevious: previous } = entry;
    if (previous === undefined) this.#slots[entry.wheelSlot] = next;
    else previous.wheelNext = next;
    if (next !== undefined) next.wheelPrevious = previous;
    entry.wheelNext = undefined;
    entry.wheelPrevious = undefined;
    entry.wheelSlot = -1;
    this.#size -= 1;
  }

  #tickAt(ms: number): number {
    return Math.floor(ms / tickMs);
  }

  #turn(): void {
    const nowMs = this.#nowMs();
    const last = this.#tickAt(nowMs);
    // After a long pause every slot is due at most once.
    const first = Math.max(this.#tick + 1, last - slotCount + 1);
    this.#tick = last;
    const due: WheelEntry[] = [];
    for (let tick = first; tick <= last; tick++) {
      let entry = this.#slots[tick % slotCount];
      while (entry !== undefined) {
        if (entry.dueMs <= nowMs) due.push(entry);
        entry = entry.wheelNext;
      }
    }
    for (const entry of due) this.clear(entry);
    for (const entry of due) entry.onDue(nowMs);
    this.#quiet = due.length === 0 ? this.#quiet + 1 : 0;
    if (this.#size === 0) this.#stop();
    else if (this.#standsUntilMs !== undefined) this.#run();
    else if (this.#quiet >= quietTicks) this.#stand(nowMs);
  }

  /** Turns with every tick. */
  #run(): void {
    this.#stop();
    this.#quiet = 0;
    this.#timer = setInterval(() => this.#turn(), tickMs).unref();
  }

  /** Waits for the first moment, if that is not soon. A process with nothing to do is not woken. */
  #stand(nowMs: number): void {
    this.#quiet = 0;
    let firstMs = Number.POSITIVE_INFINITY;
    for (let entry of this.#slots) {
      for (; entry !== undefined; entry = entry.wheelNext) {
        firstMs = Math.min(firstMs, entry.dueMs);
      }
    }
    const waitMs = Math.min(firstMs - nowMs, waitMsMax);
    if (waitMs < quietTicks * tickMs) return;
    this.#stop();
    this.#standsUntilMs = nowMs + waitMs;
    this.#timer = setTimeout(() => this.#turn(), waitMs).unref();
  }

  #stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#standsUntilMs = undefined;
  }
}
