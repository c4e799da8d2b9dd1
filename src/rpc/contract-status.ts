import { Code } from "@connectrpc/connect";
import { CollectorError } from "../errors.ts";
import { type Status, Status_Code } from "../gen/collector/common_pb.ts";
import { ErrorInfoSchema } from "../gen/google/rpc/error_details_pb.ts";
import { codeByReason, toConnectError } from "./status.ts";

/** The contract's codes by gRPC's, which are numbered otherwise; those it lacks are UNKNOWN. */
const codes: Readonly<Record<Code, Status_Code>> = {
  [Code.Canceled]: Status_Code.CANCELLED,
  [Code.Unknown]: Status_Code.UNKNOWN,
  [Code.InvalidArgument]: Status_Code.INVALID_ARGUMENT,
  [Code.DeadlineExceeded]: Status_Code.UNKNOWN,
  [Code.NotFound]: Status_Code.NOT_FOUND,
  [Code.AlreadyExists]: Status_Code.ALREADY_EXISTS,
  [Code.PermissionDenied]: Status_Code.PERMISSION_DENIED,
  [Code.ResourceExhausted]: Status_Code.RESOURCE_EXHAUSTED,
  [Code.FailedPrecondition]: Status_Code.FAILED_PRECONDITION,
  [Code.Aborted]: Status_Code.ABORTED,
  [Code.OutOfRange]: Status_Code.OUT_OF_RANGE,
  [Code.Unimplemented]: Status_Code.UNIMPLEMENTED,
  [Code.Internal]: Status_Code.INTERNAL,
  [Code.Unavailable]: Status_Code.UNAVAILABLE,
  [Code.DataLoss]: Status_Code.DATA_LOSS,
  [Code.Unauthenticated]: Status_Code.UNKNOWN,
};

/** The outcome of one thing among many, in the contract's own form. */
export function contractStatus(error: CollectorError | undefined): Status {
  if (error === undefined) {
    return { $typeName: "collector.Status", code: Status_Code.OK, message: "", details: {} };
  }
  const { reason, message, subject } = error;
  return {
    $typeName: "collector.Status",
    code: codes[codeByReason[reason]],
    message,
    details: { ...subject, reason },
  };
}

/** The same of whatever a call has failed with, another server's status included. */
export function statusOfFailure(error: unknown): Status {
  const status = toConnectError(error);
  if (status.cause instanceof CollectorError) return contractStatus(status.cause);
  const [info] = status.findDetails(ErrorInfoSchema);
  const known = info === undefined ? {} : { ...info.metadata, reason: info.reason };
  return {
    $typeName: "collector.Status",
    code: codes[status.code],
    message: status.rawMessage,
    // The contract lacks some of gRPC's codes.
    details: { ...known, grpc_code: String(status.code) },
  };
}
