import { randomUUIDv7 } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { SystemChange, SystemRecords } from "../../collections/system-records.ts";
import type { Status } from "../../gen/collector/common_pb.ts";
import { type Dispatch, DispatchSchema } from "../../gen/collector/dispatcher_pb.ts";
import type { Clock } from "../../lib/clock.ts";
import type { Limits } from "../../lib/limits.ts";
import type { Log } from "../../lib/log.ts";
import type { Scheduler } from "../../lib/scheduler.ts";

/** A dispatched call that has ended. */
export interface EndedDispatch {
  readonly namespace: string;
  readonly serviceName: string;
  readonly methodName: string;
  /** Collector that the call came from. */
  readonly source: string;
  /** Collector that ran it; empty if none did. */
  readonly handledBy: string;
  readonly status: Status;
  /** When it came, in microseconds since 1970. */
  readonly beganUs: bigint;
}

export interface DispatchLogOptions {
  /** Collection `dispatches` of namespace `system`. */
  readonly records: SystemRecords<Dispatch>;
  readonly limits: Pick<Limits, "dispatchesKeptMax" | "dispatchesPerSecondMax">;
  readonly scheduler: Scheduler;
  readonly clock: Clock;
  readonly log: Log;
}

/** How long records are gathered before they are written. */
const gatherMs = 250;

/** Says of a record how many calls before it were left out. */
const leftOutLabel = "left_out";

/**
 * Records dispatched calls, beside them: a call does not wait for its record, and under load only a
 * sample is recorded. The newest are kept.
 */
export class DispatchLog implements AsyncDisposable {
  readonly #options: DispatchLogOptions;
  /** Ids of the records there are, the oldest first. */
  readonly #ids: string[] = [];
  #waiting: Dispatch[] = [];
  #timer: Disposable | undefined;
  #writing: Promise<void> = Promise.resolve();
  #second = 0;
  #recorded = 0;
  #leftOut = 0;

  private constructor(options: DispatchLogOptions) {
    this.#options = options;
  }

  static async open(options: DispatchLogOptions): Promise<DispatchLog> {
    const log = new DispatchLog(options);
    for await (const { id } of options.records.all()) log.#ids.push(id);
    // Ids are in the order of time.
    log.#ids.sort();
    return log;
  }

  /** Costs no I/O. */
  add(ended: EndedDispatch): void {
    const { clock, limits } = this.#options;
    const nowUs = clock.nowUs();
    const second = Number(nowUs / 1_000_000n);
    if (second !== this.#second) {
      this.#second = second;
      this.#recorded = 0;
    }
    if (this.#recorded >= limits.dispatchesPerSecondMax) {
      this.#leftOut += 1;
      return;
    }
    this.#recorded += 1;
    const labels = this.#leftOut === 0 ? {} : { [leftOutLabel]: String(this.#leftOut) };
    this.#leftOut = 0;
    const { namespace, serviceName } = ended;
    const beganAt = timestampFromMs(Number(ended.beganUs / 1000n));
    this.#waiting.push(
      create(DispatchSchema, {
        id: randomUUIDv7(),
        namespace,
        service: { namespace, serviceName },
        methodName: ended.methodName,
        sourceCollectorId: ended.source,
        targetCollectorId: ended.handledBy,
        resultStatus: ended.status,
        metadata: { createdAt: beganAt, updatedAt: beganAt, labels },
        completedAt: timestampFromMs(Number(nowUs / 1000n)),
      }),
    );
    this.#timer ??= this.#options.scheduler.after(gatherMs, () => {
      this.#timer = undefined;
      this.#writing = this.#writing.then(() => this.#write());
    });
  }

  /** Writes what waits. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#timer?.[Symbol.dispose]();
    await this.#writing;
    await this.#write();
  }

  async #write(): Promise<void> {
    const dispatches = this.#waiting;
    if (dispatches.length === 0) return;
    this.#waiting = [];
    const { records, limits, log } = this.#options;
    const changes: SystemChange<Dispatch>[] = dispatches.map((value) => {
      this.#ids.push(value.id);
      return { kind: "put", id: value.id, value };
    });
    while (this.#ids.length > limits.dispatchesKeptMax) {
      const id = this.#ids.shift();
      if (id !== undefined) changes.push({ kind: "delete", id });
    }
    try {
      await records.write(changes);
    } catch (error) {
      // The calls themselves are done.
      log.warn({ err: error, count: dispatches.length }, "dispatched calls could not be recorded");
    }
  }
}
