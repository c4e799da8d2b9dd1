import { isRefusal } from "../support/found.ts";
import { noteTypeName } from "../support/notes.ts";
import type { TestClient } from "../support/test-client.ts";
import { Oracle } from "./oracle.ts";
import type { Tally } from "./workload.ts";

/** How many collections are kept while others come and go. */
const collectionsKept = 6;
const prefix = "passing-";

/** One caller that creates and deletes collections, one after the other. */
export class CatalogWorkload {
  readonly #oracle = new Oracle();
  #next = 0;

  async run(client: TestClient, options: { readonly signal: AbortSignal }): Promise<Tally> {
    const tally = { done: 0, refused: [] as unknown[], unanswered: [] as unknown[] };
    while (!options.signal.aborted) {
      try {
        const names = this.#oracle.ids();
        const [oldest] = names;
        if (names.length > collectionsKept && oldest !== undefined)
          await this.#drop(client, oldest);
        else await this.#create(client);
        tally.done += 1;
      } catch (error) {
        if (!isRefusal(error)) {
          tally.unanswered.push(error);
          break;
        }
        tally.refused.push(error);
      }
    }
    return tally;
  }

  /** Compares the collections that Discover finds with those acknowledged, and uses each once. */
  async check(client: TestClient): Promise<readonly string[]> {
    const { collections } = await client.repo.discover({ pageSize: 1000 });
    const found = new Map(
      collections
        .filter(({ name }) => name.startsWith(prefix))
        // A collection is never replaced: its number serves as its version.
        .map(({ name, metadata }) => {
          const number = Number(metadata?.labels["number"]);
          return [name, { writing: number, version: BigInt(number) }];
        }),
    );
    const wrong = [...this.#oracle.compare(found)];
    for (const name of found.keys()) {
      const { recordCount } = await client.records.describe({ collectionName: name });
      if (recordCount !== 0n) wrong.push(`${name} was found with ${recordCount} records`);
    }
    return wrong;
  }

  async #create(client: TestClient): Promise<void> {
    this.#next += 1;
    const name = `${prefix}${this.#next}`;
    const attempt = this.#oracle.begin([[name, this.#next]]);
    try {
      await client.repo.createCollection({
        collection: {
          name,
          messageType: { messageName: noteTypeName },
          metadata: { labels: { number: String(this.#next) } },
        },
      });
    } catch (error) {
      if (isRefusal(error)) this.#oracle.refuse(attempt);
      throw error;
    }
    this.#oracle.acknowledge(attempt, new Map([[name, BigInt(this.#next)]]));
  }

  async #drop(client: TestClient, name: string): Promise<void> {
    const attempt = this.#oracle.begin([[name, undefined]]);
    try {
      await client.admin.deleteCollection({ collection: { name } });
    } catch (error) {
      if (isRefusal(error)) this.#oracle.refuse(attempt);
      throw error;
    }
    this.#oracle.acknowledge(attempt, new Map());
  }
}
