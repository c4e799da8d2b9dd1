import { create } from "@bufbuild/protobuf";
import type { Any } from "@bufbuild/protobuf/wkt";
import { timestampOfUs } from "../collections/record-answers.ts";
import { type Operation, OperationSchema } from "../gen/collector/operations_pb.ts";

/** What an operation tells of its work while it runs. */
export interface OperationProgress {
  readonly done?: bigint;
  /** 0 if not known. */
  readonly total?: bigint;
  /** What it is doing now, for people. */
  readonly phase?: string;
}

/** What the work of an operation is given. */
export interface OperationRun {
  /** Fires when the operation is cancelled, and when the server stops. */
  readonly signal: AbortSignal;
  /** Fires when the server stops, for work that takes back what it has begun after a cancel. */
  readonly stopping: AbortSignal;
  /** Free to call often: what is written of it is thinned out. */
  readonly report: (progress: OperationProgress) => void;
}

/**
 * The work of an operation. It should end soon after its signal fires, by throwing the signal's
 * reason. What it answers is the operation's response. After a restart a cancelled one is run again, with
 * its signal fired, if the stop came before it had ended.
 */
export type OperationWork = (run: OperationRun) => Promise<Any | undefined>;

/** What an operation is about. */
export interface OperationTopic {
  /** What it does, as in `index-build`. */
  readonly kind: string;
  readonly namespace: string;
  /** Full name of what it works on, as in `default/products`. */
  readonly subject: string;
  /** What the work needs to go on after a restart, or tells beside its progress. */
  readonly metadata?: Any | undefined;
}

export function newOperation(name: string, topic: OperationTopic, nowUs: bigint): Operation {
  const { kind, namespace, subject, metadata } = topic;
  const now = timestampOfUs(nowUs);
  return create(OperationSchema, {
    name,
    kind,
    namespace,
    subject,
    ...(metadata === undefined ? {} : { metadata }),
    createdAt: now,
    updatedAt: now,
  });
}

/** A copy with changes: an operation that was answered never changes under its reader. */
export function changed(
  operation: Operation,
  changes: Partial<Operation>,
  nowUs: bigint,
): Operation {
  return { ...operation, ...changes, updatedAt: timestampOfUs(nowUs) };
}
