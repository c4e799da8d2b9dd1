import type { TunnelFrame, TunnelFrames } from "../gen/collector/tunnel_pb.ts";
import type { CallSender, Outlet } from "./call-sender.ts";

/** What goes out in one step, at most. */
const framesMax = 128;
const batchBytesMax = 64 * 1024;

export interface OutboxOptions<Step> {
  /** Makes a step of the stream of some frames. */
  readonly wrap: (frames: TunnelFrames) => Step;
  /** The transport takes no more. */
  readonly onReturn?: () => void;
}

/**
 * What one end of a stream sends, pulled by its transport: steps of the host first, then frames of the
 * calls in turn, so that no call holds up the others. Nothing is made before it can go, so what waits
 * here is bounded by what the calls may hold.
 */
export class Outbox<Step> implements Outlet, AsyncIterableIterator<Step, undefined> {
  readonly #options: OutboxOptions<Step>;
  readonly #steps: Step[] = [];
  readonly #ready = new Set<CallSender>();
  #waiter: PromiseWithResolvers<IteratorResult<Step, undefined>> | undefined;
  #isScheduled = false;
  #isEnded = false;
  #failure: Error | undefined;

  constructor(options: OutboxOptions<Step>) {
    this.#options = options;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** Sends a step ahead of all frames. The host bounds how many it pushes. */
  push(step: Step): void {
    if (this.#isEnded) return;
    this.#steps.push(step);
    this.#schedule();
  }

  ready(sender: CallSender): void {
    if (this.#isEnded) return;
    this.#ready.add(sender);
    this.#schedule();
  }

  remove(sender: CallSender): void {
    this.#ready.delete(sender);
  }

  /** Ends the stream behind what is ready to go. */
  end(): void {
    this.#isEnded = true;
    this.#schedule();
  }

  /** Ends the stream at once. */
  fail(error: Error): void {
    if (this.#failure !== undefined) return;
    this.#isEnded = true;
    this.#failure = error;
    this.#clear();
    this.#schedule();
  }

  next(): Promise<IteratorResult<Step, undefined>> {
    if (this.#waiter !== undefined) {
      return Promise.reject(new TypeError("an outbox is read one step at a time"));
    }
    const waiter = Promise.withResolvers<IteratorResult<Step, undefined>>();
    this.#waiter = waiter;
    if (this.#hasWork()) this.#schedule();
    return waiter.promise;
  }

  return(): Promise<IteratorResult<Step, undefined>> {
    this.#isEnded = true;
    this.#clear();
    this.#flush();
    this.#options.onReturn?.();
    return Promise.resolve({ done: true, value: undefined });
  }

  /** The transport has failed. */
  throw(error: unknown): Promise<IteratorResult<Step, undefined>> {
    void this.return();
    return Promise.reject(error);
  }

  #hasWork(): boolean {
    return this.#isEnded || this.#steps.length > 0 || this.#ready.size > 0;
  }

  /** Waits until the code that runs now is done, so that what it still sends goes along. */
  #schedule(): void {
    if (this.#waiter === undefined || this.#isScheduled) return;
    this.#isScheduled = true;
    queueMicrotask(() => {
      process.nextTick(() => {
        this.#isScheduled = false;
        this.#flush();
      });
    });
  }

  #flush(): void {
    const waiter = this.#waiter;
    if (waiter === undefined) return;
    const failure = this.#failure;
    if (failure !== undefined) {
      this.#waiter = undefined;
      waiter.reject(failure);
      return;
    }
    const step = this.#takeStep();
    if (step === undefined && !this.#isEnded) return;
    this.#waiter = undefined;
    waiter.resolve(step === undefined ? { done: true, value: undefined } : { value: step });
  }

  #takeStep(): Step | undefined {
    const step = this.#steps.shift();
    if (step !== undefined) return step;
    const frames = this.#takeFrames();
    if (frames.length === 0) return undefined;
    return this.#options.wrap({ $typeName: "collector.TunnelFrames", frames });
  }

  #takeFrames(): TunnelFrame[] {
    const frames: TunnelFrame[] = [];
    let bytes = 0;
    for (const sender of this.#ready) {
      this.#ready.delete(sender);
      const frame = sender.take();
      if (frame === undefined) continue;
      frames.push(frame);
      bytes += bytesOf(frame);
      // Behind those that wait already, in this same loop.
      if (sender.isReady) this.#ready.add(sender);
      if (frames.length >= framesMax || bytes >= batchBytesMax) break;
    }
    return frames;
  }

  #clear(): void {
    this.#steps.length = 0;
    this.#ready.clear();
  }
}

function bytesOf({ frame }: TunnelFrame): number {
  return frame.case === "message" || frame.case === "part" ? frame.value.byteLength : 0;
}
