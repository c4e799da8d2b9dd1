import { KeyedLock } from "../../collections/keyed-lock.ts";
import type { SystemRecords } from "../../collections/system-records.ts";
import type { Connection } from "../../gen/collector/dispatcher_pb.ts";
import type { Clock } from "../../lib/clock.ts";
import type { Log } from "../../lib/log.ts";
import type { Scheduler } from "../../lib/scheduler.ts";

/** How often it is written when links were last heard of. */
const activityMs = 60_000;

/** A link as far as its activity goes. */
export interface ActiveLink {
  readonly id: string;
  readonly connection: Connection;
  noteActivity(nowUs: bigint): void;
}

export interface LinkRecordsOptions {
  /** Collection `connections` of namespace `system`. */
  readonly records: SystemRecords<Connection>;
  readonly scheduler: Scheduler;
  readonly clock: Clock;
  readonly log: Log;
}

/** What is kept of links on disk. Writes about one link happen in the order of the calls. */
export class LinkRecords {
  readonly #options: LinkRecordsOptions;
  readonly #lock = new KeyedLock();
  /** Links that were heard of since the last write. */
  readonly #active = new Map<string, ActiveLink>();
  #timer: Disposable | undefined;
  #isClosed = false;

  constructor(options: LinkRecordsOptions) {
    this.#options = options;
  }

  async all(): Promise<Connection[]> {
    const result: Connection[] = [];
    for await (const { value } of this.#options.records.all()) result.push(value);
    return result;
  }

  /** Writes a link as it is now. */
  async put(link: ActiveLink): Promise<void> {
    const { id } = link;
    await this.#lock.run([id], () =>
      this.#options.records.write([{ kind: "put", id, value: link.connection }]),
    );
  }

  async delete(...ids: readonly string[]): Promise<void> {
    for (const id of ids) this.#active.delete(id);
    await this.#lock.run(ids, () =>
      this.#options.records.write(ids.map((id) => ({ kind: "delete", id }))),
    );
  }

  /** A link was heard of: that is written with those of others, some time later. */
  noteActivity(link: ActiveLink): void {
    if (this.#isClosed) return;
    link.noteActivity(this.#options.clock.nowUs());
    this.#active.set(link.id, link);
    this.#timer ??= this.#options.scheduler.after(activityMs, () => {
      this.#timer = undefined;
      void this.#flush();
    });
  }

  /** Writes what is not written yet. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#timer?.[Symbol.dispose]();
    await this.#flush();
  }

  async #flush(): Promise<void> {
    const links = [...this.#active.values()];
    if (links.length === 0) return;
    const ids = links.map(({ id }) => id);
    try {
      await this.#lock.run(ids, async () => {
        // One that was removed meanwhile must not come back.
        const left = links.filter((link) => this.#active.get(link.id) === link);
        for (const { id } of left) this.#active.delete(id);
        await this.#options.records.write(
          left.map(({ id, connection }) => ({ kind: "put", id, value: connection })),
        );
      });
    } catch (error) {
      this.#options.log.warn({ err: error }, "the activity of links could not be written");
    }
  }
}
