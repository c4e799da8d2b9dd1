import { EmptySchema } from "@bufbuild/protobuf/wkt";
import { type ContextKey, createConnectRouter, createContextKey } from "@connectrpc/connect";
import type { UniversalHandler } from "@connectrpc/connect/protocol";
import { CollectorError } from "../../errors.ts";
import { Health } from "../../gen/grpc/health/v1/health_pb.ts";
import { toConnectError } from "../status.ts";

/** Handlers that refuse every call, in the protocol of the request and without reading its body. */
export interface RefusingHandlers {
  /** For Connect's unary form. */
  readonly unary: UniversalHandler;
  /** For messages in envelopes. */
  readonly stream: UniversalHandler;
}

/** Why the call is refused, if there is more to say than that there is no such method. */
export const refusal: ContextKey<CollectorError | undefined> = createContextKey<
  CollectorError | undefined
>(undefined);

/** For methods that are not served here; connect-node alone would answer a bare 404. */
export function refuseUnknownMethods(): RefusingHandlers {
  return refusingHandlers((path) => `${path} is not served here`);
}

/** For methods that stream both ways, called over HTTP/1.1. */
export function refuseHalfDuplex(): RefusingHandlers {
  return refusingHandlers((path) => `${path} streams both ways, which needs HTTP/2`);
}

function refusingHandlers(say: (path: string) => string): RefusingHandlers {
  const router = createConnectRouter({
    requestGate: ({ url, values }) => {
      const known = values.get(refusal);
      if (known !== undefined) throw toConnectError(known);
      const path = new URL(url).pathname.slice(1, 257);
      const subject = { method: path };
      throw toConnectError(new CollectorError("METHOD_UNIMPLEMENTED", say(path), { subject }));
    },
  });
  const never = (): never => {
    throw new Error("a request that the gate refuses was served");
  };
  // Any two methods do: the gate answers before their messages are looked at.
  const { check, watch } = Health.method;
  const messages = { input: EmptySchema, output: EmptySchema };
  router.rpc({ ...check, ...messages }, never);
  router.rpc({ ...watch, ...messages }, never);
  const [unary, stream] = router.handlers;
  if (unary === undefined || stream === undefined) throw new Error("connect-node mounts nothing");
  return { unary, stream };
}
