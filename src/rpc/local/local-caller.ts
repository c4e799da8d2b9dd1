import type {
  DescMessage,
  DescMethodUnary,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf";
import type { Transport } from "@connectrpc/connect";
import { namespaceHeader } from "../interceptors/namespace.ts";

/** How a call from inside the process is made. */
export interface LocalCallOptions {
  /** Namespace of a request that has no field for it. */
  readonly namespace?: string;
  readonly signal?: AbortSignal;
  /** Longest time the call may take, in ms; by default as long as one from outside may. */
  readonly timeoutMs?: number;
}

/** Makes calls from inside the process: no socket, and otherwise all that a call from outside meets. */
export type LocalCaller = <I extends DescMessage, O extends DescMessage>(
  method: DescMethodUnary<I, O>,
  request: MessageInitShape<I>,
  options?: LocalCallOptions,
) => Promise<MessageShape<O>>;

/**
 * @param transport to this process itself
 * @returns a caller that fails with what a remote caller would see: ConnectError with details
 */
export function createLocalCaller(transport: Transport): LocalCaller {
  return async (method, request, { namespace, signal, timeoutMs } = {}) => {
    const header = namespace === undefined ? undefined : { [namespaceHeader]: namespace };
    const answer = await transport.unary(method, signal, timeoutMs, header, request);
    return answer.message;
  };
}
