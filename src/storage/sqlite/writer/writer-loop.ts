import { type MessagePort, receiveMessageOnPort } from "node:worker_threads";
import { CollectorError } from "../../../errors.ts";
import { createStoreFolder } from "../create-store.ts";
import { packFailure } from "../failure.ts";
import { translateError } from "../translate-error.ts";
import { type Answer, packAnswers } from "./answer-codec.ts";
import { DiskReserve } from "./disk-reserve.ts";
import {
  IndexBuild,
  IndexRemoval,
  registerIndex,
  retireIndex,
  type StepTask,
} from "./index-tasks.ts";
import type { WriterOptions, WriterReport, WriterRequest, WriterTask } from "./messages.ts";
import { OpenStores } from "./open-stores.ts";
import type { StoreWriter } from "./store-writer.ts";
import { type IncomingWrite, unpackWrites } from "./write-codec.ts";

/** Bounds of a group: a longer one makes its first write wait without saving more. */
const groupWritesMax = 512;
const groupBytesMax = 8 * 1024 * 1024;

/** The call of work that nobody waits for. */
const nobody = 0;

/** A task that is done in steps. */
interface RunningTask {
  readonly call: number;
  readonly storeKey: string;
  readonly work: StepTask;
}

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
  readonly #tasks: { readonly call: number; readonly task: WriterTask }[] = [];
  #running: RunningTask[] = [];
  #stepScheduled = false;

  constructor(port: MessagePort, options: WriterOptions) {
    this.#port = port;
    this.#reserve = new DiskReserve(options.storesFolder, options.limits.diskReserveBytes);
    this.#stores = new OpenStores(
      options,
      (report) => this.#report(report),
      (storeKey, store) => this.#goOn(storeKey, store),
    );
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
    }
    for (let next = this.#tasks.shift(); next !== undefined; next = this.#tasks.shift()) {
      this.#startTask(next.call, next.task);
    }
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
        this.#tasks.push(request);
        return;
      case "abort":
        this.#abort(request.call);
        return;
      case "released":
        this.#stores.recover(request.storeKey);
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
    if (failure === undefined) this.#tidy(key, store);
    else this.#stores.fail(key, failure);
  }

  /** @returns true if there was something to tidy up. */
  #tidy(key: string, store: StoreWriter): boolean {
    try {
      return store.tidy();
    } catch (error) {
      const { reason } = translateError(error);
      this.#report({
        kind: "log",
        level: "warn",
        fields: { store: key, reason },
        message: "a store's log could not be written back; it is tried again after the next writes",
      });
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

  #startTask(call: number, task: WriterTask): void {
    try {
      if (this.#runTask(call, task)) this.#report({ kind: "done", call });
    } catch (error) {
      this.#failTask(call, translateError(error));
    }
  }

  /** @returns false if the task goes on in steps. */
  #runTask(call: number, task: WriterTask): boolean {
    switch (task.task) {
      case "create":
        createStoreFolder(task.path, task.layout);
        break;
      case "open":
        this.#stores.use(task.storeKey);
        break;
      case "close":
        this.#cancelTasks((running) => running.storeKey === task.storeKey);
        this.#stores.close(task.storeKey);
        break;
      case "addIndex": {
        const index = registerIndex(this.#stores.use(task.storeKey), task.path);
        if (index.state === "ready") break;
        const work = new IndexBuild(task.path, (progress) =>
          this.#report({ kind: "progress", call, progress }),
        );
        this.#running.push({ call, storeKey: task.storeKey, work });
        return false;
      }
      case "dropIndex":
        retireIndex(this.#stores.use(task.storeKey), task.path);
        this.#running.push({ call, storeKey: task.storeKey, work: new IndexRemoval() });
        return false;
      case "shutdown":
        this.#cancelTasks(() => true);
        this.#stores.closeAll();
    }
    return true;
  }

  /** Goes on with removing indexes, where a crash or a shutdown has stopped it. */
  #goOn(storeKey: string, store: StoreWriter): void {
    const underWay = this.#running.some(
      (running) => running.storeKey === storeKey && running.work instanceof IndexRemoval,
    );
    if (store.indexes.retired && !underWay) {
      this.#running.push({ call: nobody, storeKey, work: new IndexRemoval() });
    }
  }

  #scheduleStep(): void {
    if (this.#stepScheduled || this.#running.length === 0) return;
    this.#stepScheduled = true;
    setImmediate(() => {
      this.#stepScheduled = false;
      this.#step();
      this.#work();
    });
  }

  #step(): void {
    const running = this.#running.shift();
    if (running === undefined) return;
    const { call, storeKey, work } = running;
    try {
      const store = this.#stores.use(storeKey);
      // Tidying up is a step of its own, so that no write waits for both.
      if (this.#tidy(storeKey, store) || !work.step(store)) this.#running.push(running);
      else this.#report({ kind: "done", call });
    } catch (error) {
      this.#failTask(call, translateError(error));
    }
  }

  #abort(call: number): void {
    this.#cancelTasks((running) => running.call === call);
  }

  #cancelTasks(which: (running: RunningTask) => boolean): void {
    const cancelled = this.#running.filter(which);
    this.#running = this.#running.filter((running) => !which(running));
    for (const { call } of cancelled) {
      this.#failTask(call, new CollectorError("CANCELLED", "the work on the index was cancelled"));
    }
  }

  #failTask(call: number, error: CollectorError): void {
    this.#report({ kind: "failed", call, failure: packFailure(error) });
  }

  #answer(answers: readonly Answer[]): void {
    this.#report({ kind: "answers", ...packAnswers(answers) });
  }

  #report(report: WriterReport): void {
    this.#port.postMessage(report, []);
  }
}

/** A queue whose head is taken without moving the rest. */
class WriteQueue {
  #items: IncomingWrite[] = [];
  #head = 0;

  get empty(): boolean {
    return this.#head === this.#items.length;
  }

  push(write: IncomingWrite): void {
    this.#items.push(write);
  }

  shift(): IncomingWrite | undefined {
    const write = this.#items[this.#head];
    if (write === undefined) return undefined;
    this.#head++;
    if (this.#head === this.#items.length) {
      this.#items = [];
      this.#head = 0;
    }
    return write;
  }
}
