import { CollectorError } from "../../errors.ts";

/** The answer of a method that the contract has and this version does not serve yet. */
export function unserved(method: string): () => Promise<never> {
  return () =>
    Promise.reject(
      new CollectorError("METHOD_UNIMPLEMENTED", `${method} is not served by this version`),
    );
}
