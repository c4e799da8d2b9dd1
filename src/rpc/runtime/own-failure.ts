import { create, toBinary } from "@bufbuild/protobuf";
import { StatusSchema } from "../../gen/google/rpc/status_pb.ts";
import { CallFailure, type MetadataEntries } from "../../mesh/channel.ts";
import { encodeBinary } from "../grpc/metadata.ts";
import { packDetails, toConnectError } from "../status.ts";
import { detailsName } from "./forwarded-error.ts";

/** Details of more bytes are cut: clients refuse answers with too large headers. */
const detailsBytesMax = 3072;

/**
 * What a handler in this process has thrown, as a call to another server would fail with it: that the
 * two cannot be told apart is the point.
 *
 * @param set what the handler has set besides
 */
export function handlerFailure(
  error: unknown,
  requestId: string,
  set: { readonly headers: MetadataEntries; readonly trailers: MetadataEntries },
): CallFailure {
  if (error instanceof CallFailure) return error;
  const status = toConnectError(error, requestId);
  const details = packDetails(status, detailsBytesMax);
  const entries: (readonly [string, string])[] = [...status.metadata, ...set.trailers];
  if (details.length > 0) {
    const message = create(StatusSchema, {
      code: status.code,
      message: status.rawMessage,
      details,
    });
    entries.push([detailsName, encodeBinary(toBinary(StatusSchema, message))]);
  }
  return new CallFailure(status.rawMessage, {
    code: status.code,
    headers: set.headers,
    trailers: entries,
    mayHaveRun: true,
    cause: error,
  });
}
