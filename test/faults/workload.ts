import { Code, ConnectError } from "@connectrpc/connect";
import { isRefusal, readNotes, versionOf } from "../support/found.ts";
import { noteItem } from "../support/notes.ts";
import { Random } from "../support/random.ts";
import type { TestClient } from "../support/test-client.ts";
import { type Attempt, type Content, Oracle } from "./oracle.ts";

/** How many records one writer keeps; above it deletes more than it creates. */
const recordsPerWriter = 120;

export interface WorkloadOptions {
  readonly collectionName: string;
  readonly seed: number;
  readonly writers: number;
}

/** A create whose id the server chooses and whose answer never came. */
interface Unanswered {
  readonly attempt: Attempt;
  readonly requestId: string;
  readonly writing: number;
  readonly writer: number;
}

/** What the server answered a writer, and how often. */
export interface Tally {
  readonly done: number;
  readonly refused: readonly unknown[];
  readonly unanswered: readonly unknown[];
}

/**
 * Several writers at a time that create, replace, delete and batch the notes of one collection, each
 * its own, and remember with an oracle what was acknowledged.
 */
export class Workload {
  readonly collectionName: string;
  readonly oracle: Oracle = new Oracle();
  readonly #random: Random;
  readonly #writers: number;
  /** Which writer may write a record. */
  readonly #owners = new Map<string, number>();
  #unanswered: Unanswered[] = [];
  #next = 1;

  constructor(options: WorkloadOptions) {
    this.collectionName = options.collectionName;
    this.#random = new Random(options.seed);
    this.#writers = options.writers;
  }

  /**
   * Writes until `signal` fires. A writer ends at the first write without an answer, unless `goOn`;
   * the records of such a write are left alone until {@link check}.
   */
  async run(
    client: TestClient,
    options: { readonly signal: AbortSignal; readonly goOn?: boolean; readonly pauseMs?: number },
  ): Promise<Tally> {
    const tally = { done: 0, refused: [] as unknown[], unanswered: [] as unknown[] };
    const write = async (writer: number) => {
      while (!options.signal.aborted) {
        try {
          await this.#write(client, writer);
          tally.done += 1;
        } catch (error) {
          if (!isRefusal(error)) {
            tally.unanswered.push(error);
            if (options.goOn !== true) return;
          } else tally.refused.push(error);
          await new Promise((resolve) => setTimeout(resolve, options.pauseMs ?? 5));
        }
      }
    };
    await Promise.all(Array.from({ length: this.#writers }, (_, writer) => write(writer)));
    return tally;
  }

  /**
   * Reads the collection and compares it with what was acknowledged; then sends the creates again
   * whose answer was lost: each must be there once.
   *
   * @returns what is wrong, one line each.
   */
  async check(client: TestClient): Promise<readonly string[]> {
    const { collectionName } = this;
    const found = await readNotes(client, collectionName);
    const idByWriting = new Map([...found].map(([id, { writing }]) => [writing, id]));
    for (const { attempt, writing } of this.#unanswered) {
      const id = idByWriting.get(writing);
      if (id !== undefined) this.oracle.identify(attempt, placeholder(writing), id);
    }
    const wrong = [...this.oracle.compare(found)];
    const { revision } = await client.records.describe({ collectionName });
    if (revision < this.oracle.highest) {
      wrong.push(`the revision ${revision} is lower than version ${this.oracle.highest}`);
    }
    const retries = this.#unanswered;
    this.#unanswered = [];
    for (const { writing, requestId, writer } of retries) {
      const id = await this.#createUnnamed(client, { writing, requestId, writer });
      const earlier = idByWriting.get(writing);
      if (earlier !== undefined && earlier !== id) {
        wrong.push(`request ${requestId} created ${earlier} and, sent again, ${id}`);
      }
    }
    return wrong;
  }

  /** Searches for the one word that a note shares with no other, for some of the records. */
  async checkSearch(client: TestClient, samples: number): Promise<readonly string[]> {
    const wrong: string[] = [];
    const ids = this.oracle.ids();
    for (let sample = 0; sample < samples && ids.length > 0; sample += 1) {
      const id = this.#random.pick(ids);
      const { results } = await client.records.search({
        collectionName: this.collectionName,
        fullText: `n${this.oracle.content(id)}`,
      });
      const hits = results.map(({ meta }) => meta?.id);
      if (hits.length !== 1 || hits[0] !== id)
        wrong.push(`${id}: the search for it finds ${hits.join(", ")}`);
    }
    return wrong;
  }

  async #write(client: TestClient, writer: number): Promise<void> {
    const own = this.#ownIds(writer);
    const roll = this.#random.next();
    if (own.length < 8 || (roll < 0.4 && own.length < recordsPerWriter)) {
      if (roll < 0.15) {
        const writing = this.#number();
        await this.#createUnnamed(client, { writing, requestId: `request-${writing}`, writer });
      } else await this.#send(client, [[this.#newId(writer), this.#number()]]);
    } else if (roll < 0.6) await this.#send(client, [[this.#random.pick(own), this.#number()]]);
    else if (roll < 0.75) await this.#send(client, [[this.#random.pick(own), undefined]]);
    else await this.#batch(client, writer, own);
  }

  /** A batch on records of its own; one in four has a last step that cannot be done. */
  async #batch(client: TestClient, writer: number, own: readonly string[]): Promise<void> {
    const changes = new Map<string, Content>();
    for (let step = this.#random.between(1, 6); step >= 0; step -= 1) {
      const roll = this.#random.next();
      if (roll < 0.4) changes.set(this.#newId(writer), this.#number());
      else changes.set(this.#random.pick(own), roll < 0.7 ? this.#number() : undefined);
    }
    const bystander = own.find((id) => !changes.has(id));
    const spoilt = this.#random.below(4) === 0 ? bystander : undefined;
    await this.#send(client, [...changes], spoilt);
  }

  async #send(
    client: TestClient,
    changes: readonly (readonly [string, Content])[],
    spoilt?: string,
  ): Promise<void> {
    const { collectionName, oracle } = this;
    const operations = changes.map(([id, writing]) => this.#operation(id, writing));
    // A create of what is there: the whole batch has to fail.
    if (spoilt !== undefined) operations.push(creation(spoilt, 0));
    const attempt = oracle.begin(changes);
    const versions = new Map<string, bigint>();
    try {
      const [first] = operations;
      if (operations.length === 1 && first !== undefined) {
        const meta = await sendAlone(client, collectionName, first);
        if (first.operation.case !== "delete") versions.set(first.operation.value.id, meta);
      } else {
        const { responses } = await client.records.batch({ collectionName, operations });
        if (spoilt !== undefined) throw new Error(`a batch that creates ${spoilt} again was done`);
        for (const [index, { response }] of responses.entries()) {
          const id = operations[index]?.operation.value.id ?? "";
          if (response.case !== "delete") versions.set(id, versionOf(response.value?.meta));
        }
      }
    } catch (error) {
      if (isRefusal(error)) {
        oracle.refuse(attempt);
        if (spoilt !== undefined && isSpoilt(error)) return;
      }
      throw error;
    }
    oracle.acknowledge(attempt, versions);
  }

  async #createUnnamed(client: TestClient, creation: Omit<Unanswered, "attempt">): Promise<string> {
    const { collectionName, oracle } = this;
    const { writing, requestId, writer } = creation;
    const attempt = oracle.begin([[placeholder(writing), writing]]);
    try {
      const item = noteItem(writing);
      const { id, meta } = await client.records.create({ collectionName, item, requestId });
      this.#owners.set(id, writer);
      if (oracle.content(id) === writing) oracle.refuse(attempt);
      else {
        oracle.identify(attempt, placeholder(writing), id);
        oracle.acknowledge(attempt, new Map([[id, versionOf(meta)]]));
      }
      return id;
    } catch (error) {
      if (isRefusal(error)) oracle.refuse(attempt);
      else this.#unanswered.push({ attempt, ...creation });
      throw error;
    }
  }

  #operation(id: string, writing: Content): Operation {
    if (writing === undefined) return { operation: { case: "delete", value: { id } } };
    if (this.oracle.content(id) === undefined) return creation(id, writing);
    return { operation: { case: "update", value: { id, item: noteItem(writing) } } };
  }

  /** The records of a writer that no write without an answer is about. */
  #ownIds(writer: number): readonly string[] {
    const { oracle } = this;
    return oracle.ids().filter((id) => this.#owners.get(id) === writer && !oracle.isOpen(id));
  }

  #newId(writer: number): string {
    const id = `w${writer}-${this.#number()}`;
    this.#owners.set(id, writer);
    return id;
  }

  #number(): number {
    this.#next += 1;
    return this.#next;
  }
}

interface Operation {
  readonly operation:
    | { readonly case: "create"; readonly value: { id: string; item: ReturnType<typeof noteItem> } }
    | { readonly case: "update"; readonly value: { id: string; item: ReturnType<typeof noteItem> } }
    | { readonly case: "delete"; readonly value: { id: string } };
}

function creation(id: string, writing: number): Operation {
  return { operation: { case: "create", value: { id, item: noteItem(writing) } } };
}

async function sendAlone(
  client: TestClient,
  collectionName: string,
  { operation }: Operation,
): Promise<bigint> {
  const { records } = client;
  if (operation.case === "delete") {
    await records.delete({ collectionName, ...operation.value });
    return 0n;
  }
  const request = { collectionName, ...operation.value };
  const { meta } =
    operation.case === "create" ? await records.create(request) : await records.update(request);
  return versionOf(meta);
}

function isSpoilt(error: unknown): boolean {
  return ConnectError.from(error).code === Code.AlreadyExists;
}

function placeholder(writing: number): string {
  return `unnamed-${writing}`;
}
