import { compileWireScan } from "../lib/wire-scan.ts";
import { readCheckInput } from "./record-check-input.ts";

type Judge = (data: Uint8Array) => string | undefined;

/**
 * Checks that each record is of the type that it should have. Loaded by name, in a process of its own: the runtime of
 * protobuf takes 13 MiB there, and is loaded with the first record that it has to judge.
 *
 * @param input of {@link writeCheckInput}
 * @returns what is wrong with a record's bytes, if anything is
 */
export function createRecordCheck(
  input: Uint8Array,
): (data: Uint8Array) => string | undefined | Promise<string | undefined> {
  const { typeName, plan, descriptors } = readCheckInput(input);
  const isSurely = compileWireScan(plan);
  let judge: Judge | undefined;
  const judgeLater = async (data: Uint8Array): Promise<string | undefined> => {
    const { createJudge } = await import("./record-judge.ts");
    judge = createJudge(typeName, descriptors);
    return judge(data);
  };
  return (data) => {
    if (isSurely(data)) return undefined;
    return judge === undefined ? judgeLater(data) : judge(data);
  };
}
