import type { CollectiveDispatcher } from "../../gen/collector/dispatcher_pb.ts";
import type { Links } from "../../mesh/links/links.ts";
import type { ServiceHandlers } from "../call.ts";
import { unserved } from "./unserved.ts";

/** `collector.CollectiveDispatcher` over the {@link Links}. */
export function collectiveDispatcher(links: Links): ServiceHandlers<typeof CollectiveDispatcher> {
  return {
    serve: unserved("CollectiveDispatcher/Serve"),

    async connect({ address, namespaces, metadata }) {
      const link = await links.connect({ address, namespaces, labels: metadata });
      return {
        connectionId: link.id,
        sharedNamespaces: [...link.connection.sharedNamespaces],
        targetCollectorId: link.peerId,
        roundTripUs: link.toStatus().roundTripUs,
      };
    },

    dispatch: unserved("CollectiveDispatcher/Dispatch"),
  };
}
