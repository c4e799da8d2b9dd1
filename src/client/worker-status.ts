import { create, toBinary } from "@bufbuild/protobuf";
import { type Any, AnySchema, anyPack } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { CollectorError, type ErrorReason } from "../errors.ts";
import { StatusSchema } from "../gen/google/rpc/status_pb.ts";
import type { Entries } from "../tunnel/frames.ts";
import type { TunnelEnd } from "../tunnel/served-call.ts";
import { ClientError } from "./client-error.ts";

/** Details of more bytes are cut, the last ones: gRPC clients refuse answers with large headers. */
const detailsBytesMax = 3072;

/** What a tunnel itself has against a call. */
const codeByReason: Readonly<Partial<Record<ErrorReason, Code>>> = {
  CANCELLED: Code.Canceled,
  DEADLINE_EXCEEDED: Code.DeadlineExceeded,
  MESSAGE_TOO_LARGE: Code.ResourceExhausted,
  METADATA_INVALID: Code.InvalidArgument,
  METHOD_UNIMPLEMENTED: Code.Unimplemented,
  OVERLOADED: Code.ResourceExhausted,
  SHUTTING_DOWN: Code.Unavailable,
};

/** What a handler has thrown, and the trailers that it had set. */
export class HandlerFailure extends Error {
  readonly trailers: Entries;

  constructor(cause: unknown, trailers: Entries) {
    super("a handler failed", { cause });
    this.trailers = trailers;
  }
}

/** How a call ends for what was thrown. @param onBug told of what is meant for no caller */
export function statusEnd(thrown: unknown, onBug: (error: unknown) => void): TunnelEnd {
  const error = thrown instanceof HandlerFailure ? thrown.cause : thrown;
  const trailers = thrown instanceof HandlerFailure ? thrown.trailers : [];
  const status = statusOf(error);
  if (status === undefined) {
    onBug(error);
    return { code: Code.Internal, message: "the worker failed", metadata: trailers };
  }
  const { code, rawMessage: message } = status;
  const metadata: (readonly [string, string])[] = [...status.metadata, ...trailers];
  const details = packDetails(status);
  if (details.length > 0) {
    const bytes = toBinary(StatusSchema, create(StatusSchema, { code, message, details }));
    const text = Buffer.from(bytes).toString("base64").replace(/=+$/, "");
    metadata.push(["grpc-status-details-bin", text]);
  }
  return { code, message, metadata };
}

function statusOf(error: unknown): ConnectError | undefined {
  if (error instanceof ConnectError) return error;
  if (error instanceof ClientError) {
    const { cause, code, message } = error;
    return cause instanceof ConnectError ? cause : new ConnectError(message, code);
  }
  if (error instanceof CollectorError) {
    const code = codeByReason[error.reason];
    return code === undefined ? undefined : new ConnectError(error.message, code);
  }
  if (error instanceof DOMException && error.name === "AbortError") {
    return new ConnectError("the call was cancelled", Code.Canceled);
  }
  return undefined;
}

function packDetails({ details }: ConnectError): Any[] {
  const result: Any[] = [];
  let bytes = 0;
  for (const detail of details) {
    const any =
      "desc" in detail
        ? anyPack(detail.desc, create(detail.desc, detail.value))
        : create(AnySchema, {
            typeUrl: `type.googleapis.com/${detail.type}`,
            value: detail.value,
          });
    bytes += any.typeUrl.length + any.value.byteLength;
    if (bytes > detailsBytesMax) break;
    result.push(any);
  }
  return result;
}
