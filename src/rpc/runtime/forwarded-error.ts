import { fromBinary } from "@bufbuild/protobuf";
import { ConnectError } from "@connectrpc/connect";
import { CollectorError } from "../../errors.ts";
import { StatusSchema } from "../../gen/google/rpc/status_pb.ts";
import { CallFailure, type MetadataEntries } from "../../mesh/channel.ts";
import { decodeBinary, passableHeaders } from "../grpc/metadata.ts";

/** Where the details of a status are, among the trailers of gRPC. */
export const detailsName = "grpc-status-details-bin";

/** The status that the implementation of a method ended its call with, to be passed on as it is. */
export class ForwardedError extends ConnectError {
  /** As on the wire, `grpc-status-details-bin` included. */
  readonly trailers: MetadataEntries;

  constructor(failure: CallFailure) {
    super(failure.message, failure.code, undefined, undefined, failure);
    this.trailers = failure.trailers;
    const list = passableHeaders(failure.trailers);
    for (let i = 0; i + 1 < list.length; i += 2) {
      this.metadata.append(list[i] ?? "", list[i + 1] ?? "");
    }
    this.details.push(...detailsOf(failure.trailers));
  }
}

/** `instanceof` would not do: it takes every ConnectError for one, as that class says it. */
export function isForwarded(error: ConnectError): error is ForwardedError {
  return "trailers" in error;
}

/** What a call that was forwarded ends with at its caller. */
export function forwardedFailure(error: unknown, serviceName: string): unknown {
  if (!(error instanceof CallFailure)) return error;
  const { reason, message } = error;
  if (reason === undefined) return new ForwardedError(error);
  if (reason === "PEER_DENIED") {
    const text = `${serviceName} has an endpoint that this server may not dial: add it to \`peers\` in the configuration`;
    return new CollectorError("SERVICE_UNAVAILABLE", text, {
      subject: { service: serviceName },
      cause: error,
    });
  }
  return new CollectorError(reason, message, {
    subject: { service: serviceName },
    cause: error,
  });
}

/** Details that cannot be read are passed on in the trailers, and nowhere else. */
function detailsOf(trailers: MetadataEntries): ConnectError["details"] {
  const value = trailers.find(([name]) => name === detailsName)?.[1];
  if (value === undefined) return [];
  try {
    const { details } = fromBinary(StatusSchema, decodeBinary(detailsName, value));
    return details.map((any) => ({
      type: any.typeUrl.slice(any.typeUrl.lastIndexOf("/") + 1),
      value: any.value,
    }));
  } catch {
    return [];
  }
}
