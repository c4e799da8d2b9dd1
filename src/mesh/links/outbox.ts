import type { CallSender, Outlet } from "../../tunnel/call-sender.ts";
import { Outbox as TunnelOutbox } from "../../tunnel/outbox.ts";
import type { LinkStep } from "./link-step.ts";

/** Steps about the link itself that may wait: a peer that makes us say more than it reads is cut off. */
const stepsMax = 64;

type OfferStep = Extract<LinkStep, { case: "offer" }>;

/**
 * What one end of a link has still to say. What is about the link itself goes before frames of calls,
 * and of several offers that wait only the newest is sent.
 */
export class Outbox implements Outlet, AsyncIterableIterator<LinkStep, undefined> {
  readonly #inner = new TunnelOutbox<LinkStep>({
    wrap: (frames) => ({ case: "frames", value: frames }),
  });
  readonly #onOverflow: () => void;
  #waiting = 0;
  #offer: { case: "offer"; value: OfferStep["value"] } | undefined;

  /** @param onOverflow called if the other end does not read what it is sent; nothing more is */
  constructor(onOverflow: () => void = () => undefined) {
    this.#onOverflow = onOverflow;
  }

  /** Adds a step about the link; does nothing once it has ended. */
  push(step: LinkStep): void {
    if (step.case === "offer") {
      if (this.#offer !== undefined) {
        this.#offer.value = step.value;
        return;
      }
      this.#offer = { ...step };
      this.#inner.push(this.#offer);
    } else {
      this.#inner.push(step);
    }
    this.#waiting += 1;
    if (this.#waiting <= stepsMax) return;
    void this.return();
    this.#onOverflow();
  }

  ready(sender: CallSender): void {
    this.#inner.ready(sender);
  }

  remove(sender: CallSender): void {
    this.#inner.remove(sender);
  }

  /** Nothing more is added; what is there is still sent. */
  end(): void {
    this.#inner.end();
  }

  async next(): Promise<IteratorResult<LinkStep, undefined>> {
    const result = await this.#inner.next();
    if (result.done === true || result.value.case === "frames") return result;
    this.#waiting -= 1;
    if (result.value === this.#offer) this.#offer = undefined;
    return result;
  }

  /** Nobody sends any more: what is left is dropped. */
  return(): Promise<IteratorResult<LinkStep, undefined>> {
    return this.#inner.return();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
