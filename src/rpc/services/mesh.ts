import type { Mesh } from "../../gen/collector/mesh_pb.ts";
import { type LinkStep, stepOf } from "../../mesh/links/link-step.ts";
import type { Links } from "../../mesh/links/links.ts";
import type { ServiceHandlers } from "../call.ts";

/** `collector.Mesh` over the {@link Links}. */
export function mesh(links: Links): ServiceHandlers<typeof Mesh> {
  return {
    async listConnections(request) {
      return links.views.connections(request);
    },

    async disconnect({ connectionId, allowMissing }) {
      await links.disconnect(connectionId, allowMissing);
      return {};
    },

    async listCollectors(request) {
      return links.views.collectors(request);
    },

    async *link(requests, call) {
      for await (const step of links.accept(stepsOf(requests))) {
        if (step.case === "offer" && !step.value.isDuplicate) call.exemptConnection?.();
        yield { step };
      }
    },

    async identify({ connectionId, nonce, proof }, call) {
      const identity = links.guard.identify(connectionId, nonce, proof);
      call.exemptConnection?.();
      return identity;
    },
  };
}

async function* stepsOf(
  requests: AsyncIterable<Parameters<typeof stepOf>[0]>,
): AsyncGenerator<LinkStep, undefined> {
  for await (const request of requests) yield stepOf(request);
}
