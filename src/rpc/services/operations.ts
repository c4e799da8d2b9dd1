import type { Operations } from "../../gen/collector/operations_pb.ts";
import type { OperationStore } from "../../operations/operation-store.ts";
import type { ServiceHandlers } from "../call.ts";

/** `collector.Operations` over the {@link OperationStore}. */
export function operations(store: OperationStore): ServiceHandlers<typeof Operations> {
  return {
    async getOperation({ name }) {
      return store.get(name);
    },

    async listOperations(request) {
      return store.list(request);
    },

    waitOperation({ name, timeout }, { signal }) {
      const timeoutMs =
        timeout === undefined
          ? undefined
          : Number(timeout.seconds) * 1000 + Math.ceil(timeout.nanos / 1e6);
      return store.wait(name, { timeoutMs, signal });
    },

    cancelOperation: ({ name }) => store.cancel(name),

    async deleteOperation({ name }) {
      await store.delete(name);
      return {};
    },
  };
}
