import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { IdentifyRequestSchema, IdentifyResponseSchema } from "../../gen/collector/mesh_pb.ts";
import type { Scheduler } from "../../lib/scheduler.ts";
import type { Channel, Dialer } from "../channel.ts";
import { identifyPath } from "./link-step.ts";

/** Pauses between attempts: the first one, and the longest. */
const retryMinMs = 1000;
const retryMaxMs = 60_000;

export const nonceBytes = 32;

/** The proof of a collector that it knows a link's secret. */
export function proofOf(secret: Uint8Array, nonce: Uint8Array, collectorId: string): Buffer {
  return createHmac("sha256", secret).update(nonce).update(collectorId).digest();
}

export function isProof(
  proof: Uint8Array,
  secret: Uint8Array,
  nonce: Uint8Array,
  collectorId: string,
): boolean {
  const expected = proofOf(secret, nonce, collectorId);
  return proof.byteLength === expected.byteLength && timingSafeEqual(proof, expected);
}

export interface DialBackOptions {
  readonly dialer: Dialer;
  readonly scheduler: Scheduler;
  readonly connectionId: string;
  readonly secret: Uint8Array;
  /** This collector. */
  readonly collectorId: string;
  /** The collector that has to be there. */
  readonly peerId: string;
  /** How long an attempt may take. */
  readonly timeoutMs: number;
  /** Told why the other end cannot be dialled, when that changes. */
  readonly onProblem: (address: string, error: unknown) => void;
}

/**
 * The way by which the end that has accepted a link dials the other one. It is used once the collector
 * there has proved that it is the one; as long as it has not, that is tried again from time to time.
 */
export class DialBack implements Disposable {
  readonly #options: DialBackOptions;
  #address = "";
  #channel: Channel | undefined;
  #isVerified = false;
  #timer: Disposable | undefined;
  #pauseMs = retryMinMs;
  #lastProblem = "";

  constructor(options: DialBackOptions) {
    this.#options = options;
  }

  /** The way, once it is known to lead to the right collector. */
  get channel(): Channel | undefined {
    return this.#isVerified ? this.#channel : undefined;
  }

  /** Where the other end says that it can be dialled; empty: nowhere. */
  aim(address: string): void {
    if (address === this.#address) return;
    this.#stop();
    this.#address = address;
    this.#pauseMs = retryMinMs;
    if (address !== "") void this.#try(address);
  }

  [Symbol.dispose](): void {
    this.#address = "";
    this.#stop();
  }

  async #try(address: string): Promise<void> {
    try {
      const channel = (this.#channel ??= this.#options.dialer.dial(address, "offer.address"));
      await this.#verify(channel);
      if (this.#channel === channel) this.#isVerified = true;
    } catch (error) {
      if (this.#address !== address) return;
      const problem = error instanceof Error ? error.message : String(error);
      if (problem !== this.#lastProblem) this.#options.onProblem(address, error);
      this.#lastProblem = problem;
      const pauseMs = this.#pauseMs;
      this.#pauseMs = Math.min(retryMaxMs, pauseMs * 2);
      this.#timer = this.#options.scheduler.after(pauseMs, () => void this.#try(address));
    }
  }

  async #verify(channel: Channel): Promise<void> {
    const { connectionId, secret, collectorId: self, peerId, timeoutMs } = this.#options;
    const nonce = randomBytes(nonceBytes);
    const own = proofOf(secret, nonce, self);
    const request = create(IdentifyRequestSchema, { connectionId, nonce, proof: own });
    const { message } = await channel.unary(
      identifyPath,
      toBinary(IdentifyRequestSchema, request),
      { deadlineMs: performance.now() + timeoutMs },
    );
    const { collectorId, proof } = fromBinary(IdentifyResponseSchema, message);
    if (collectorId !== peerId || !isProof(proof, secret, nonce, peerId)) {
      throw new Error(`another collector than ${peerId} answers there`);
    }
  }

  #stop(): void {
    this.#timer?.[Symbol.dispose]();
    this.#timer = undefined;
    const channel = this.#channel;
    this.#channel = undefined;
    this.#isVerified = false;
    void channel?.[Symbol.asyncDispose]();
  }
}
