import { CollectorError } from "../errors.ts";
import type { ExportResponse } from "../gen/collector/record_streams_pb.ts";

/** All records at one moment. @throws {CollectorError} METHOD_UNIMPLEMENTED while it is read */
// oxlint-disable-next-line require-yield
export async function* exportRecords(): AsyncGenerator<ExportResponse> {
  throw new CollectorError(
    "METHOD_UNIMPLEMENTED",
    "RecordStreams/Export is not served by this version",
  );
}
