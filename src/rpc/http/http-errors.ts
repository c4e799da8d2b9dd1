import { Code, type ConnectError } from "@connectrpc/connect";
import { CollectorError } from "../../errors.ts";
import { RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.ts";
import { type HttpRequest, type HttpResponse, respond } from "./responses.ts";

/** The HTTP status of each code. */
const statusByCode: Readonly<Record<Code, number>> = {
  [Code.Canceled]: 499,
  [Code.Unknown]: 500,
  [Code.InvalidArgument]: 400,
  [Code.DeadlineExceeded]: 504,
  [Code.NotFound]: 404,
  [Code.AlreadyExists]: 409,
  [Code.PermissionDenied]: 403,
  [Code.ResourceExhausted]: 429,
  [Code.FailedPrecondition]: 412,
  [Code.Aborted]: 409,
  [Code.OutOfRange]: 416,
  [Code.Unimplemented]: 501,
  [Code.Internal]: 500,
  [Code.Unavailable]: 503,
  [Code.DataLoss]: 500,
  [Code.Unauthenticated]: 401,
};

/** Answers with a failure as JSON: code, reason and message. */
export function respondError(
  request: HttpRequest,
  response: HttpResponse,
  error: ConnectError,
): void {
  const { code, rawMessage, cause } = error;
  const [retry] = error.findDetails(RetryInfoSchema);
  const delay = retry?.retryDelay;
  const retryS =
    delay === undefined ? undefined : Number(delay.seconds) + (delay.nanos > 0 ? 1 : 0);
  const name = Code[code].replace(/(?<=[a-z])(?=[A-Z])/g, "_").toLowerCase();
  const reason = cause instanceof CollectorError ? { reason: cause.reason } : {};
  respond(
    request,
    response,
    statusByCode[code],
    { code: name, ...reason, message: rawMessage },
    retryS === undefined ? {} : { "retry-after": String(retryS) },
  );
}
