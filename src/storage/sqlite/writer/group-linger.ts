/** Longest that a commit is put off, in ms, however slow the disk is. */
const lingerMsMax = 4;

/** Groups that are not put off after one that was put off for nearly nothing. */
const groupsWithout = 32;

/**
 * Decides how long a group's commit is put off for writes that are on their way.
 *
 * Callers that wait for an answer before they write again come in waves: those whom one commit has
 * answered are back while the next group, of those who came meanwhile, is being written. Without a
 * pause two half groups take turns, each with a commit of its own. So a group waits until as many
 * writes are in it as were under way, but no longer than a commit takes; if that brought nearly
 * nothing, the next groups do not wait. A caller alone never waits.
 */
export class GroupLinger {
  /** Counts what the main thread has posted. */
  readonly #posted: Int32Array;
  #seen = 0;
  #commitMs = 0;
  #storeKey = "";
  #expected = 0;
  #skip = 0;
  /** When this group stops waiting; 0 before it has begun to. */
  #untilMs = 0;
  #writesBefore = 0;
  #closedMs = 0;

  constructor(posted: Int32Array) {
    this.#posted = posted;
  }

  /** A group of a store begins; nothing is known of those who write to other stores. */
  begin(storeKey: string): void {
    if (storeKey !== this.#storeKey) this.#expected = 0;
    this.#storeKey = storeKey;
    this.#untilMs = 0;
  }

  /** To be called before the port is emptied: what is posted later is noticed by {@link wait}. */
  look(): void {
    this.#seen = Atomics.load(this.#posted, 0);
  }

  /**
   * Waits for more writes, blocking the thread.
   *
   * @param writes how many the group has.
   * @returns true if something was posted: the port is worth another look.
   */
  wait(writes: number): boolean {
    const nowMs = performance.now();
    if (writes >= this.#expected || this.#skip > 0) {
      this.close();
      return false;
    }
    if (this.#untilMs === 0) {
      this.#untilMs = nowMs + Math.min(this.#commitMs, lingerMsMax);
      this.#writesBefore = writes;
    }
    const leftMs = this.#untilMs - nowMs;
    if (leftMs > 0 && Atomics.wait(this.#posted, 0, this.#seen, leftMs) !== "timed-out")
      return true;
    this.close();
    return false;
  }

  /** The group takes no more: from here on it is its commit that takes time. */
  close(): void {
    this.#closedMs = performance.now();
  }

  /**
   * The group of so many writes is committed and about to be answered.
   *
   * @param waiting writes that came meanwhile: they are from others than those now answered.
   */
  end(writes: number, waiting: number): void {
    const commitMs = performance.now() - this.#closedMs;
    this.#commitMs = this.#commitMs === 0 ? commitMs : this.#commitMs * 0.8 + commitMs * 0.2;
    if (this.#skip > 0) {
      this.#skip -= 1;
    } else if (this.#untilMs > 0) {
      const missing = this.#expected - this.#writesBefore;
      if ((writes - this.#writesBefore) * 4 < missing) this.#skip = groupsWithout;
    }
    this.#expected = writes + waiting;
  }
}
