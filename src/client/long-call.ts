import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { anyUnpack, durationFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import type { Operation } from "../gen/collector/operations_pb.ts";
import { ClientError, isUnreached, toClientError } from "./client-error.ts";
import { limitsOf } from "./collection.ts";
import { pause } from "./pause.ts";
import type { Services } from "./services.ts";

/** How far a piece of long work is. */
export interface LongCallProgress {
  /** Name of the operation, as `client.services.operations` takes it. Empty for a transfer from here. */
  readonly operation: string;
  /** What it is doing now, for people. */
  readonly phase: string;
  readonly done: bigint;
  /** 0 if not known; it may change from phase to phase. */
  readonly total: bigint;
}

/** Work that takes as long as it takes: it has no deadline, and runs on at the server as an operation. */
export interface LongCallOptions {
  /** Cancels the work, not only the waiting for it. */
  readonly signal?: AbortSignal | undefined;
  /** Called some times a second while the work goes on. */
  readonly onProgress?: ((progress: LongCallProgress) => void) | undefined;
}

/** How long one wait takes at most: short with somebody who looks at the progress. */
const waitMs = 20_000;
const lookMs = 200;

/** How much longer than the wait its answer may take. */
const answerMs = 10_000;

/** How long work that was cancelled is given to end. */
const cancelMs = 10_000;

/** Waits in a row that may fail because the server cannot be reached, and what lies between them. */
const lostMax = 5;
const lostPauseMs = 1000;

/** What every call answers that begins an operation. */
interface Begun {
  readonly operation?: Operation | undefined;
}

/**
 * Begins an operation and waits for it. A connection that is lost meanwhile is opened again.
 *
 * @param begin a call with `return_immediately`
 * @returns the response of the operation, or the answer of the call if that had none to wait for
 * @throws {ClientError} what the work failed with; CANCELLED if the signal fired, and then the work is
 * asked to stop
 */
export async function longCall<Desc extends DescMessage>(
  operations: Services["operations"],
  schema: Desc,
  begin: () => Promise<MessageShape<Desc> & Begun>,
  options: LongCallOptions,
): Promise<MessageShape<Desc>> {
  const { signal, onProgress } = options;
  if (hasFired(signal)) throw cancelled(signal?.reason);
  const begun = await begin();
  if (begun.operation === undefined) return begun;
  let operation: Operation = begun.operation;
  const { name } = operation;
  const timeout = durationFromMs(onProgress === undefined ? waitMs : lookMs);
  let lost = 0;
  while (!operation.done) {
    try {
      signal?.throwIfAborted();
      operation = await operations.waitOperation(
        { name, timeout },
        limitsOf({ timeoutMs: waitMs + answerMs, ...(signal === undefined ? {} : { signal }) }),
      );
      lost = 0;
    } catch (error) {
      if (hasFired(signal)) {
        await stop(operations, name);
        throw cancelled(error);
      }
      lost += 1;
      if (!isUnreached(error) || lost > lostMax) throw error;
      await pause(lostPauseMs);
    }
    const { phase, progressDone: done, progressTotal: total } = operation;
    if (!operation.done) onProgress?.({ operation: name, phase, done, total });
  }
  return outcome(operation, schema);
}

function hasFired(signal: AbortSignal | undefined): boolean {
  return signal?.aborted === true;
}

/** Nobody asks for the outcome any more, so a server that is gone is no failure. */
async function stop(operations: Services["operations"], name: string): Promise<void> {
  try {
    await operations.cancelOperation({ name }, { timeoutMs: cancelMs });
    const timeout = durationFromMs(cancelMs);
    await operations.waitOperation({ name, timeout }, { timeoutMs: cancelMs + answerMs });
  } catch (error) {
    if (!(error instanceof ClientError)) throw error;
  }
}

/** The failure of a call whose caller has given it up. */
export function cancelled(cause: unknown): ClientError {
  if (cause instanceof ClientError && cause.reason === "CANCELLED") return cause;
  return new ClientError("CANCELLED", "the call was cancelled", { code: Code.Canceled, cause });
}

function outcome<Desc extends DescMessage>(
  { name, result }: Operation,
  schema: Desc,
): MessageShape<Desc> {
  if (result.case === "error") {
    const { message, code, details } = result.value;
    const error = new ConnectError(message, code in Code ? code : Code.Unknown);
    error.details = details.map(({ typeUrl, value }) => ({ type: typeNameOf(typeUrl), value }));
    throw toClientError(error, "");
  }
  const response = result.case === "response" ? anyUnpack(result.value, schema) : undefined;
  if (response !== undefined) return response;
  throw new ClientError("UNRECOGNIZED", `operation ${name} has ended without ${schema.typeName}`, {
    code: Code.Internal,
  });
}

function typeNameOf(typeUrl: string): string {
  return typeUrl.slice(typeUrl.lastIndexOf("/") + 1);
}
