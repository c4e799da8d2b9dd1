import { Code } from "@connectrpc/connect";
import { CollectorError, type ErrorReason } from "../../errors.ts";
import { CallFailure } from "../../mesh/channel.ts";
import { errorCode } from "../http2/frames.ts";
import { codeByReason } from "../status.ts";

/** What is said of every endpoint that may not be dialled, so that nothing is learned by trying. */
const deniedText =
  "not an endpoint that this server may dial: give host:port of a server that its configuration lists under peers";

export function endpointDenied(field: string): CollectorError {
  return new CollectorError("PEER_DENIED", `${field}: ${deniedText}`, {
    violations: [{ field, description: deniedText }],
  });
}

/** The same once there is a channel, as its address turned out to be none that is allowed. */
export function addressDenied(): CallFailure {
  return localFailure("PEER_DENIED", deniedText, false);
}

/** A call that this server has ended, or could not begin. */
export function localFailure(
  reason: ErrorReason,
  message: string,
  mayHaveRun: boolean,
  cause?: unknown,
): CallFailure {
  return new CallFailure(message, { code: codeByReason[reason], reason, mayHaveRun, cause });
}

/** What was thrown on this side while a call ran, as its failure. */
export function ownFailure(error: unknown, mayHaveRun: boolean): CallFailure {
  if (error instanceof CallFailure) return error;
  if (error instanceof CollectorError) {
    return localFailure(error.reason, error.message, mayHaveRun, error);
  }
  if (error instanceof DOMException && error.name === "AbortError") {
    return localFailure("CANCELLED", "the call was cancelled", mayHaveRun, error);
  }
  return localFailure("INTERNAL", "the server failed; its log has the details", mayHaveRun, error);
}

/** A stream that the peer reset: codes as gRPC's protocol has them. */
export function resetFailure(rstCode: number): CallFailure {
  const code = codeOfReset(rstCode);
  return new CallFailure(`the peer reset the stream (HTTP/2 error ${rstCode})`, {
    code,
    mayHaveRun: rstCode !== errorCode.refusedStream,
  });
}

function codeOfReset(rstCode: number): Code {
  switch (rstCode) {
    case errorCode.refusedStream:
      return Code.Unavailable;
    case errorCode.cancel:
      return Code.Canceled;
    case errorCode.enhanceYourCalm:
      return Code.ResourceExhausted;
    case errorCode.inadequateSecurity:
      return Code.PermissionDenied;
    default:
      return Code.Internal;
  }
}

/** An answer that is HTTP and no gRPC. */
export function httpFailure(status: number): CallFailure {
  return new CallFailure(`the peer answers with HTTP status ${status} and no gRPC`, {
    code: codeOfHttp(status),
    mayHaveRun: true,
  });
}

function codeOfHttp(status: number): Code {
  switch (status) {
    case 400:
      return Code.Internal;
    case 401:
      return Code.Unauthenticated;
    case 403:
      return Code.PermissionDenied;
    case 404:
      return Code.Unimplemented;
    case 429:
    case 502:
    case 503:
    case 504:
      return Code.Unavailable;
    default:
      return Code.Unknown;
  }
}
