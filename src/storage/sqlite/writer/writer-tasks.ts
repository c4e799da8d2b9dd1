import { CollectorError } from "../../../errors.ts";
import { createStoreFolder } from "../create-store.ts";
import { packFailure } from "../failure.ts";
import { translateError } from "../translate-error.ts";
import { replaceFiles, stageFiles } from "./file-replacement.ts";
import { clearGarbage, putFile, removeFile } from "./file-tasks.ts";
import {
  IndexBuild,
  IndexRemoval,
  registerIndex,
  registerRebuild,
  retireIndex,
  retireRebuild,
} from "./index-tasks.ts";
import type { TaskAnswer, WriterReport, WriterTask } from "./messages.ts";
import type { OpenStores } from "./open-stores.ts";
import { completeShape, reshape, SearchRemoval } from "./search-tasks.ts";
import type { StepTask } from "./step-task.ts";
import type { StoreWriter } from "./store-writer.ts";

/** The call of work that nobody waits for. */
const nobody = 0;

/** While there are writes all the time, steps leave them this many times as long as they take. */
const writesShare = 3;

export interface WriterTasksOptions {
  readonly stores: OpenStores;
  readonly report: (report: WriterReport) => void;
  /** Tidies a store up, which is a step of its own. @returns true if there was something to do. */
  readonly tidy: (storeKey: string, store: StoreWriter) => boolean;
}

/** A task that waits for the writes that came before it. */
interface WaitingTask {
  readonly call: number;
  readonly task: WriterTask;
  readonly isDue: () => boolean;
}

/** A task that is done in steps. */
interface RunningTask {
  readonly call: number;
  readonly storeKey: string;
  readonly work: StepTask;
}

/** What a writer thread does besides writes, between their groups. */
export class WriterTasks {
  readonly #options: WriterTasksOptions;
  #waiting: WaitingTask[] = [];
  #running: RunningTask[] = [];
  /** When the next step may come though there are writes. */
  #nextStepMs = 0;

  constructor(options: WriterTasksOptions) {
    this.#options = options;
  }

  /** True if there is work to be done in steps. */
  get hasSteps(): boolean {
    return this.#running.length > 0;
  }

  /** @param isDue true once the writes before the task are done. */
  add(call: number, task: WriterTask, isDue: () => boolean): void {
    this.#waiting.push({ call, task, isDue });
  }

  /** Starts what is due. */
  start(): void {
    if (this.#waiting.length === 0) return;
    const due = this.#waiting.filter(({ isDue }) => isDue());
    this.#waiting = this.#waiting.filter((waiting) => !due.includes(waiting));
    for (const { call, task } of due) this.#startTask(call, task);
  }

  /** Goes on with removing what is out of use, where a crash or a shutdown has stopped it. */
  goOn(storeKey: string, store: StoreWriter): void {
    if (store.indexes.retired) this.#removeIn(storeKey, IndexRemoval);
    if (store.search.retired) this.#removeIn(storeKey, SearchRemoval);
  }

  /** Does a step, but leaves writes that come all the time most of the time. */
  stepBetween(): void {
    if (this.#running.length === 0 || performance.now() < this.#nextStepMs) return;
    this.step();
  }

  step(): void {
    const running = this.#running.shift();
    if (running === undefined) return;
    const startMs = performance.now();
    const { call, storeKey, work } = running;
    try {
      const store = this.#options.stores.use(storeKey);
      // Tidying up is a step of its own, so that no write waits for both.
      if (this.#options.tidy(storeKey, store) || !work.step(store)) this.#running.push(running);
      else this.#done(call, undefined);
    } catch (error) {
      this.#fail(call, translateError(error));
    }
    const nowMs = performance.now();
    this.#nextStepMs = nowMs + writesShare * (nowMs - startMs);
  }

  abort(call: number): void {
    this.#cancel((running) => running.call === call);
  }

  #startTask(call: number, task: WriterTask): void {
    try {
      if (task.task === "addIndex") this.#addIndex(call, task);
      else if (task.task === "dropIndex") this.#dropIndex(call, task);
      else this.#done(call, this.#run(task));
    } catch (error) {
      this.#fail(call, translateError(error));
    }
  }

  #run(task: Exclude<WriterTask, { task: "addIndex" | "dropIndex" }>): TaskAnswer {
    const { stores } = this.#options;
    switch (task.task) {
      case "create":
        createStoreFolder(task.path, task.layout);
        return undefined;
      case "open":
        stores.use(task.storeKey);
        return undefined;
      case "close":
        this.#cancel((running) => running.storeKey === task.storeKey);
        stores.close(task.storeKey);
        return undefined;
      case "reshape":
      case "completeShape": {
        const store = stores.use(task.storeKey);
        const shape = task.task === "reshape" ? reshape(store, task.wanted) : completeShape(store);
        this.goOn(task.storeKey, store);
        return shape;
      }
      case "putFile":
        return putFile(stores.use(task.storeKey), task);
      case "removeFile":
        return removeFile(stores.use(task.storeKey), task);
      case "stageFiles":
        stageFiles(stores.use(task.storeKey), task);
        return undefined;
      case "replaceFiles":
        replaceFiles(stores.use(task.storeKey), task.count);
        return undefined;
      case "clearGarbage":
        clearGarbage(stores.use(task.storeKey), task.sha256s);
        return undefined;
      case "shutdown":
        this.#cancel(() => true);
        stores.closeAll();
        return undefined;
    }
  }

  #addIndex(call: number, { storeKey, path, rebuild }: WriterTask & { task: "addIndex" }): void {
    const store = this.#options.stores.use(storeKey);
    const index = rebuild ? registerRebuild(store, path) : registerIndex(store, path);
    if (index.state === "ready") {
      this.#done(call, undefined);
      return;
    }
    const work = new IndexBuild(index.number, (progress) =>
      this.#options.report({ kind: "progress", call, progress }),
    );
    this.#running.push({ call, storeKey, work });
  }

  #dropIndex(call: number, { storeKey, path, rebuild }: WriterTask & { task: "dropIndex" }): void {
    const store = this.#options.stores.use(storeKey);
    if (rebuild) retireRebuild(store, path);
    else retireIndex(store, path);
    this.#running.push({ call, storeKey, work: new IndexRemoval() });
  }

  #removeIn(storeKey: string, Removal: typeof IndexRemoval | typeof SearchRemoval): void {
    const underWay = this.#running.some(
      (running) => running.storeKey === storeKey && running.work instanceof Removal,
    );
    if (!underWay) this.#running.push({ call: nobody, storeKey, work: new Removal() });
  }

  #cancel(which: (running: RunningTask) => boolean): void {
    const cancelled = this.#running.filter(which);
    this.#running = this.#running.filter((running) => !which(running));
    for (const { call } of cancelled) {
      this.#fail(call, new CollectorError("CANCELLED", "the work on the index was cancelled"));
    }
  }

  #done(call: number, answer: TaskAnswer): void {
    this.#options.report({ kind: "done", call, answer });
  }

  #fail(call: number, error: CollectorError): void {
    this.#options.report({ kind: "failed", call, failure: packFailure(error) });
  }
}
