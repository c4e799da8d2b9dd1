import type { DescMessage, MessageInitShape } from "@bufbuild/protobuf";
import { create } from "@bufbuild/protobuf";
import { anyPack } from "@bufbuild/protobuf/wkt";
import type { Operation } from "../../gen/collector/operations_pb.ts";
import type { OperationRun, OperationTopic } from "../../operations/operation.ts";
import type { OperationStore } from "../../operations/operation-store.ts";

export interface LongCall<D extends DescMessage> {
  readonly operations: OperationStore;
  readonly topic: OperationTopic;
  /** Answers at once; the work goes on. Otherwise who hangs up cancels it. */
  readonly returnImmediately: boolean;
  /** Fires when the caller waits no longer. */
  readonly signal: AbortSignal;
  readonly schema: D;
  readonly work: (run: OperationRun) => Promise<MessageInitShape<D>>;
}

/** What a long call answers: its response if it waited for that, and the operation. */
export interface LongAnswer<D extends DescMessage> {
  readonly response: MessageInitShape<D> | undefined;
  readonly operation: Operation;
}

/**
 * Runs the work of a call as an operation, whose response is the call's.
 *
 * @throws what the work failed with, if it was waited for
 */
export async function runLong<D extends DescMessage>({
  operations,
  topic,
  returnImmediately,
  signal,
  schema,
  work,
}: LongCall<D>): Promise<LongAnswer<D>> {
  const outcome: { response?: MessageInitShape<D>; error?: unknown } = {};
  const started = await operations.start(topic, async (run) => {
    try {
      outcome.response = await work(run);
      return anyPack(schema, create(schema, outcome.response));
    } catch (error) {
      outcome.error = error;
      throw error;
    }
  });
  if (returnImmediately) return { response: undefined, operation: started };
  const { name } = started;
  const operation = await operations.wait(name, { signal });
  if (!operation.done) {
    await operations.cancel(name);
    // What it has begun is taken back before the caller hears of it.
    await operations.wait(name, {});
    throw signal.reason;
  }
  if (operation.result.case === "error") throw outcome.error;
  return { response: outcome.response, operation };
}
