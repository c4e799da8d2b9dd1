import { clone, type DescMessage, type MessageShape } from "@bufbuild/protobuf";
import type {
  SystemChange,
  SystemRecord,
  SystemRecords,
} from "../../collections/system-records.ts";

/** System records in memory, for tests of what keeps its state in them. */
export class MemoryRecords<D extends DescMessage> implements SystemRecords<MessageShape<D>> {
  readonly #schema: D;
  readonly #records = new Map<string, MessageShape<D>>();
  /** How many writes there were. */
  writes = 0;
  /** Thrown by the next write, which then changes nothing. */
  failure: Error | undefined;

  constructor(schema: D) {
    this.#schema = schema;
  }

  get ids(): string[] {
    return [...this.#records.keys()];
  }

  get values(): MessageShape<D>[] {
    return [...this.#records.values()];
  }

  async *all(): AsyncIterable<SystemRecord<MessageShape<D>>> {
    for (const [id, value] of this.#records) yield { id, value: clone(this.#schema, value) };
  }

  get(id: string): Promise<MessageShape<D> | undefined> {
    return Promise.resolve(this.#records.get(id));
  }

  async write(changes: readonly SystemChange<MessageShape<D>>[]): Promise<void> {
    // Like a disk, it takes a moment, in which other calls get their turn.
    await new Promise((resolve) => setImmediate(resolve));
    if (this.failure !== undefined) {
      const { failure } = this;
      this.failure = undefined;
      throw failure;
    }
    this.writes += 1;
    for (const change of changes) {
      if (change.kind === "put") {
        this.#records.set(change.id, clone(this.#schema, change.value));
      } else {
        this.#records.delete(change.id);
      }
    }
  }
}
