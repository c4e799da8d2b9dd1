import type { Message } from "@bufbuild/protobuf";
import { Code, type ConnectError } from "@connectrpc/connect";
import { CollectorError } from "../../errors.ts";
import { type Call, type Interceptor, invoke } from "../call.ts";
import { isForwarded } from "../runtime/forwarded-error.ts";
import { toConnectError } from "../status.ts";

/** What the log needs to offer: the shape of a pino logger. */
export interface CallLog {
  isLevelEnabled(level: string): boolean;
  debug(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** Told of every call that ends. */
export type CallRecorder = (call: Call, code: Code | undefined, durationMs: number) => void;

/** Codes that mean that the server, not the caller, has a problem. */
const serverFaults: ReadonlySet<Code> = new Set([Code.Internal, Code.DataLoss, Code.Unknown]);

/**
 * The outermost interceptor: turns what was thrown into a wire status, counts and logs the call when
 * its last message is out. A bug is logged with its stack under the request id that the caller gets.
 */
export function observeCalls(log: CallLog, record: CallRecorder): Interceptor {
  const end = (call: Call, startMs: number, error: ConnectError | undefined): void => {
    const durationMs = performance.now() - startMs;
    record(call, error?.code, durationMs);
    if (error !== undefined && isServerFault(error)) {
      const fields = { ...describe(call), durationMs, err: error.cause ?? error };
      log.error(fields, "call failed");
    } else if (log.isLevelEnabled("debug")) {
      const code = error === undefined ? "OK" : Code[error.code];
      log.debug({ ...describe(call), durationMs, code }, error?.rawMessage ?? "call");
    }
  };
  // No async function: every call passes here, some twice, and each of those costs half a microsecond.
  return (next) => (input, call) => {
    const startMs = performance.now();
    const fail = (error: unknown): never => {
      const mapped = toConnectError(error, call.requestId);
      end(call, startMs, mapped);
      throw mapped;
    };
    return invoke(next, input, call).then((answer) => {
      if (Symbol.asyncIterator in answer) return observeStream(answer, call, startMs, end);
      end(call, startMs, undefined);
      return answer;
    }, fail);
  };
}

async function* observeStream(
  messages: AsyncIterable<Message>,
  call: Call,
  startMs: number,
  end: (call: Call, startMs: number, error: ConnectError | undefined) => void,
): AsyncIterable<Message> {
  let failure: ConnectError | undefined;
  try {
    yield* messages;
  } catch (error) {
    failure = toConnectError(error, call.requestId);
    throw failure;
  } finally {
    end(call, startMs, failure);
  }
}

function isServerFault(error: ConnectError): boolean {
  // Somebody else's failure, which was passed on.
  if (isForwarded(error)) return false;
  const { code, cause } = error;
  // What was lost then was lost on the way here.
  const isUpload = cause instanceof CollectorError && cause.reason === "CONTENT_MISMATCH";
  return serverFaults.has(code) && !isUpload;
}

function describe(call: Call): object {
  return {
    requestId: call.requestId,
    method: `${call.serviceName}/${call.methodName}`,
    namespace: call.namespace,
    protocol: call.protocol,
    peer: call.peer,
    ...(call.executorId === undefined ? {} : { executor: call.executorId }),
  };
}
