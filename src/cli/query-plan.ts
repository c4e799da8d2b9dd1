import type { QueryPlan } from "../gen/collector/collection_server_pb.ts";
import { count, type Output } from "./output.ts";

/** Says on stderr how a query ran. */
export function notePlan(output: Output, plan: QueryPlan | undefined): void {
  if (plan === undefined) return;
  const { steps, rowsVisited, runTime, suggestedIndexes } = plan;
  const ms = Number(runTime?.seconds ?? 0n) * 1000 + (runTime?.nanos ?? 0) / 1e6;
  for (const step of steps) output.note(`  ${step}`);
  output.note(`  ${count(rowsVisited, "row")} visited in ${ms.toFixed(1)} ms`);
  if (suggestedIndexes.length > 0) {
    const fields = suggestedIndexes.join(",");
    output.note(`  an index would help: collector collection alter NAME --index ${fields}`);
  }
}
