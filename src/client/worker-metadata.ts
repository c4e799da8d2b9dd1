import type { Entries } from "../tunnel/frames.ts";
import type { AnswerMetadata, WorkerMetadata } from "./worker-handlers.ts";

/** The metadata of a call as it came over the tunnel. */
export class ReceivedMetadata implements WorkerMetadata {
  readonly #entries: Entries;

  constructor(entries: Entries) {
    this.#entries = entries;
  }

  get(name: string): string | undefined {
    return this.#entries.find(([key]) => key === name)?.[1];
  }

  getBinary(name: string): Uint8Array | undefined {
    const value = this.get(name);
    return value === undefined ? undefined : Uint8Array.from(Buffer.from(value, "base64"));
  }

  entries(): Iterable<readonly [string, string]> {
    return this.#entries;
  }
}

/** The metadata of an answer, as it goes over the tunnel. */
export class SentMetadata implements AnswerMetadata {
  readonly #values = new Map<string, string>();
  #isSent = false;

  get entries(): Entries {
    return [...this.#values];
  }

  /** From here on {@link set} throws, so that no value is lost in silence. */
  seal(): Entries {
    this.#isSent = true;
    return this.entries;
  }

  set(name: string, value: string | Uint8Array): void {
    if (this.#isSent) throw new TypeError(`${name}: this metadata is sent already`);
    if (!/^[0-9a-z_.-]+$/.test(name)) {
      throw new TypeError(`${name}: metadata names are made of 0-9 a-z _ . -`);
    }
    if (name.endsWith("-bin")) {
      if (typeof value === "string") throw new TypeError(`${name}: a -bin name takes bytes`);
      this.#values.set(name, Buffer.from(value).toString("base64").replace(/=+$/, ""));
    } else if (typeof value !== "string" || !/^[\x20-\x7e]*$/.test(value)) {
      throw new TypeError(`${name}: must be printable ASCII`);
    } else {
      this.#values.set(name, value);
    }
  }
}
