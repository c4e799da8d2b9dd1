import type { Mesh } from "../../gen/collector/mesh_pb.ts";
import { type LinkStep, stepOf } from "../../mesh/links/link-step.ts";
import type { Links } from "../../mesh/links/links.ts";
import type { ServedRegistrations } from "../../mesh/sharing/served-registrations.ts";
import type { ServiceHandlers } from "../call.ts";

/** `collector.Mesh` over the {@link Links}. */
export function mesh(
  links: Links,
  registrations: Pick<ServedRegistrations, "list" | "read">,
): ServiceHandlers<typeof Mesh> {
  return {
    async listConnections(request) {
      return links.views.connections(request);
    },

    async disconnect({ connectionId, allowMissing }) {
      await links.disconnect(connectionId, allowMissing);
      return {};
    },

    async shareRegistrations({ connectionId, namespaces }) {
      const link = await links.shareRegistrations(connectionId, namespaces);
      return { connection: links.views.status(link) };
    },

    async *listSharedRegistrations({ namespace }, call) {
      yield* registrations.list(call.via, namespace);
    },

    async *readSharedFiles(request, call) {
      yield* registrations.read(call.via, request);
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
