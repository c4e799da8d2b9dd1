import { fromBinary } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { type FieldViolation } from "../errors.ts";
import { BadRequestSchema, ErrorInfoSchema } from "../gen/google/rpc/error_details_pb.ts";
import { StatusSchema } from "../gen/google/rpc/status_pb.ts";
import type { CallFailure } from "./channel.ts";

/** What another collector has said of why a call failed. */
export interface RemoteError {
  /** One of docs/errors.md, or one that this version does not know. */
  readonly reason: string;
  readonly subject: Readonly<Record<string, string>>;
  readonly violations: readonly FieldViolation[];
}

/** The details of a status, if a collector has set them. */
export function remoteErrorOf(failure: CallFailure): RemoteError | undefined {
  const text = failure.trailers.find(([name]) => name === "grpc-status-details-bin")?.[1];
  if (text === undefined) return undefined;
  try {
    const { details } = fromBinary(StatusSchema, Buffer.from(text, "base64"));
    for (const any of details) {
      const info = anyUnpack(any, ErrorInfoSchema);
      if (info?.domain !== "collector") continue;
      const bad = details.map((detail) => anyUnpack(detail, BadRequestSchema)).find(Boolean);
      const violations = bad?.fieldViolations ?? [];
      return {
        reason: info.reason,
        subject: info.metadata,
        violations: violations.map(({ field, description }) => ({ field, description })),
      };
    }
  } catch {
    // Details that are no such message say nothing; the status itself still does.
  }
  return undefined;
}
