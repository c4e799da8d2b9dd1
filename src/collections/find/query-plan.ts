import type { QueryPlan } from "../../gen/collector/collection_server_pb.ts";
import type { QueryRun } from "../../storage/record-query.ts";

/** How a query ran, as it is answered to who asked. */
export function queryPlan(run: QueryRun): QueryPlan {
  const { steps, indexes, rowsVisited, runTimeUs, suggestedIndexes } = run;
  const seconds = Math.floor(runTimeUs / 1e6);
  return {
    $typeName: "collector.QueryPlan",
    steps: [...steps],
    indexes: [...indexes],
    rowsVisited: BigInt(rowsVisited),
    runTime: {
      $typeName: "google.protobuf.Duration",
      seconds: BigInt(seconds),
      nanos: Math.round(runTimeUs - seconds * 1e6) * 1000,
    },
    suggestedIndexes: [...suggestedIndexes],
  };
}
