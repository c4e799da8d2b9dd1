import { type MessagePort, receiveMessageOnPort } from "node:worker_threads";
import { CollectorError } from "../../../errors.ts";
import { packFailure } from "../failure.ts";
import { translateError } from "../translate-error.ts";
import { type Answer, packAnswers } from "./answer-codec.ts";
import { DiskReserve } from "./disk-reserve.ts";
import type { WriterOptions, WriterReport, WriterRequest, WriterTask } from "./messages.ts";
import { OpenStores } from "./open-stores.ts";
import { QuietMerges } from "./quiet-merges.ts";
import type { StoreWriter } from "./store-writer.ts";
import { type IncomingWrite, unpackWrites } from "./write-codec.ts";
import { WriterTasks } from "./writer-tasks.ts";

/** Bounds of a group: a longer one makes its first write wait without saving more. */
const groupWritesMax = 512;
const groupBytesMax = 8 * 1024 * 1024;

/**
 * The work of a writer thread. All of it is synchronous: messages that arrive meanwhile are taken in
 * before each commit, so that writes which came while the last commit ran share the next one.
 */
export class WriterLoop {
  readonly #port: MessagePort;
  readonly #stores: OpenStores;
  readonly #reserve: DiskReserve;
  /** Writes in order of arrival, by store; the stores take turns. */
  readonly #waiting = new Map<string, WriteQueue>();
  readonly #tasks: WriterTasks;
  readonly #quietMerges: QuietMerges;
  /** Stores whose log was written back, and is to be looked at once no transaction is open. */
  readonly #writtenBack = new Set<string>();
  #stepScheduled = false;

  constructor(port: MessagePort, options: WriterOptions) {
    this.#port = port;
    this.#reserve = new DiskReserve(options.storesFolder, options.limits.diskReserveBytes);
    this.#stores = new OpenStores(
      options,
      (report) => this.#report(report),
      (storeKey, store) => this.#tasks.goOn(storeKey, store),
    );
    this.#tasks = new WriterTasks({
      stores: this.#stores,
      report: (report) => this.#report(report),
      tidy: (storeKey, store) => this.#tidy(storeKey, store),
    });
    this.#quietMerges = new QuietMerges({
      find: (storeKey) => (this.#reserve.low ? undefined : this.#stores.find(storeKey)),
      tidy: (storeKey, store) => this.#tidy(storeKey, store),
      onFailure: (storeKey, error) => {
        this.#warn(storeKey, error, "a text index could not be put in order");
      },
    });
  }

  receive(request: WriterRequest): void {
    this.#take(request);
    this.#work();
  }

  #work(): void {
    for (;;) {
      this.#drain();
      const [next] = this.#waiting;
      if (next === undefined) break;
      this.#runGroup(...next);
      // There may be writes all the time.
      this.#tasks.start();
      this.#tasks.stepBetween();
    }
    this.#tidyWrittenBack();
    this.#tasks.start();
    this.#scheduleStep();
  }

  #drain(): void {
    for (;;) {
      const received = receiveMessageOnPort(this.#port);
      if (received === undefined) return;
      this.#take(received.message as WriterRequest);
    }
  }

  #take(request: WriterRequest): void {
    switch (request.kind) {
      case "writes":
        for (const write of unpackWrites(request)) this.#enqueue(write);
        return;
      case "task":
        this.#tasks.add(request.call, request.task, this.#afterWrites(request.task));
        return;
      case "abort":
        this.#tasks.abort(request.call);
        return;
      case "released":
        this.#stores.recover(request.storeKey);
        return;
      case "writtenBack":
        this.#stores.find(request.storeKey)?.noteWrittenBack(request.isDone);
        this.#writtenBack.add(request.storeKey);
    }
  }

  #enqueue(write: IncomingWrite): void {
    let queue = this.#waiting.get(write.storeKey);
    if (queue === undefined) {
      queue = new WriteQueue();
      this.#waiting.set(write.storeKey, queue);
    }
    queue.push(write);
  }

  /** Tells when the writes are done that have come before a task. */
  #afterWrites(task: WriterTask): () => boolean {
    if (task.task === "shutdown") return () => this.#waiting.size === 0;
    const queue = "storeKey" in task ? this.#waiting.get(task.storeKey) : undefined;
    if (queue === undefined) return () => true;
    const { last } = queue;
    return () => queue.isDone(last);
  }

  #runGroup(key: string, queue: WriteQueue): void {
    let store: StoreWriter;
    let diskLow: boolean;
    try {
      store = this.#stores.use(key);
      diskLow = this.#reserve.low;
    } catch (error) {
      this.#waiting.delete(key);
      this.#refuseAll(queue, translateError(error));
      return;
    }
    let writes = 0;
    let bytes = 0;
    const next = (): IncomingWrite | undefined => {
      if (writes >= groupWritesMax || bytes >= groupBytesMax) return undefined;
      if (queue.empty) this.#drain();
      const write = queue.shift();
      if (write !== undefined) {
        writes++;
        bytes += write.byteLength;
      }
      return write;
    };
    const { answers, failure } = store.runGroup(next, diskLow);
    this.#answer(answers);
    // To the end of the turns, or out if nothing is left.
    this.#waiting.delete(key);
    if (!queue.empty) this.#waiting.set(key, queue);
    if (failure === undefined) {
      this.#tidy(key, store);
      this.#quietMerges.noteGroup(key, store);
    } else {
      this.#stores.fail(key, failure);
    }
  }

  /** With no writes that would make it so, a log is looked at when it was written back. */
  #tidyWrittenBack(): void {
    for (const key of this.#writtenBack) {
      this.#writtenBack.delete(key);
      const store = this.#stores.find(key);
      if (store !== undefined) this.#tidy(key, store);
    }
  }

  /** @returns true if there was something to tidy up. */
  #tidy(key: string, store: StoreWriter): boolean {
    try {
      const done = store.tidy();
      if (done === "ask") this.#report({ kind: "writeBack", storeKey: key });
      return done === "did";
    } catch (error) {
      this.#warn(key, error, "a store's log could not be written back");
      return false;
    }
  }

  #refuseAll(queue: WriteQueue, error: CollectorError): void {
    const failure = packFailure(error);
    const answers: Answer[] = [];
    for (let write = queue.shift(); write !== undefined; write = queue.shift()) {
      answers.push({ call: write.call, failure });
    }
    this.#answer(answers);
  }

  #scheduleStep(): void {
    if (this.#stepScheduled || !this.#tasks.hasSteps) return;
    this.#stepScheduled = true;
    setImmediate(() => {
      this.#stepScheduled = false;
      this.#tasks.step();
      this.#work();
    });
  }

  #answer(answers: readonly Answer[]): void {
    this.#report({ kind: "answers", ...packAnswers(answers) });
  }

  #warn(store: string, error: unknown, what: string): void {
    const { reason } = translateError(error);
    const message = `${what}; it is tried again after the next writes`;
    this.#report({ kind: "log", level: "warn", fields: { store, reason }, message });
  }

  #report(report: WriterReport): void {
    this.#port.postMessage(report, []);
  }
}

/** A queue whose head is taken without moving the rest. */
class WriteQueue {
  #items: IncomingWrite[] = [];
  #head = 0;
  #pushed = 0;
  #shifted = 0;

  get empty(): boolean {
    return this.#head === this.#items.length;
  }

  /** The number of the last write that was put in. */
  get last(): number {
    return this.#pushed;
  }

  /** True once the write of this number and all before it were taken. */
  isDone(number: number): boolean {
    return this.#shifted >= number;
  }

  push(write: IncomingWrite): void {
    this.#pushed++;
    this.#items.push(write);
  }

  shift(): IncomingWrite | undefined {
    const write = this.#items[this.#head];
    if (write === undefined) return undefined;
    this.#head++;
    this.#shifted++;
    if (this.#head === this.#items.length) {
      this.#items = [];
      this.#head = 0;
    }
    return write;
  }
}
