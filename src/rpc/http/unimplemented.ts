import { EmptySchema } from "@bufbuild/protobuf/wkt";
import { createConnectRouter, type HandlerContext } from "@connectrpc/connect";
import type { UniversalHandler } from "@connectrpc/connect/protocol";
import { CollectorError } from "../../errors.ts";
import { Health } from "../../gen/grpc/health/v1/health_pb.ts";
import { toConnectError } from "../status.ts";

/**
 * Handlers for methods that are not served here: they answer UNIMPLEMENTED in the protocol of the
 * request, without reading its body, where connect-node alone would answer a bare 404.
 */
export interface UnimplementedHandlers {
  readonly unary: UniversalHandler;
  readonly stream: UniversalHandler;
}

export function unimplementedHandlers(): UnimplementedHandlers {
  const router = createConnectRouter({ requestGate: refuse });
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

function refuse(context: HandlerContext): never {
  const path = new URL(context.url).pathname.slice(1, 257);
  throw toConnectError(
    new CollectorError("METHOD_UNIMPLEMENTED", `${path} is not served here`, {
      subject: { method: path },
    }),
  );
}
