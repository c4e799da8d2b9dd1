import { CollectorError } from "../../../errors.ts";
import { integerOf, textOf } from "../connection.ts";
import type { Applied, PackedOutcome } from "./answer-codec.ts";
import type { IncomingWrite } from "./write-codec.ts";
import type { WriteStatements } from "./write-statements.ts";

type StoredOutcome = readonly [string, string, string, PackedOutcome[3], string, id: string];
type StoredAnswer = readonly [revision: string, outcomes: readonly StoredOutcome[]];

/**
 * The answer that a write with the same request id had, if it is still remembered.
 *
 * @throws {CollectorError} REQUEST_ID_REUSED if that write was another one.
 */
export function findAnswer(
  statements: WriteStatements,
  write: IncomingWrite,
  ttlUs: bigint,
): Applied | undefined {
  const { request, call } = write;
  if (request === undefined) return undefined;
  const row = statements.findRequest.get(request.id);
  if (row === undefined || integerOf(row, "atUs") + ttlUs <= write.nowUs) return undefined;
  if (textOf(row, "fingerprint") !== request.fingerprint) {
    throw new CollectorError(
      "REQUEST_ID_REUSED",
      "this request id was used for another request; send each request with an id of its own",
      { subject: { request_id: request.id } },
    );
  }
  const [revision, outcomes] = JSON.parse(textOf(row, "answer")) as StoredAnswer;
  return {
    call,
    revision: BigInt(revision),
    replayed: true,
    outcomes: outcomes.map(([version, createdUs, updatedUs, change, labels, id]) => [
      BigInt(version),
      BigInt(createdUs),
      BigInt(updatedUs),
      change,
      labels,
      // The ids are the earlier write's too: the server may have made others for this one.
      id,
    ]),
  };
}

/** Keeps the answer of a write that carries a request id. */
export function rememberAnswer(
  statements: WriteStatements,
  write: IncomingWrite,
  revision: bigint,
  outcomes: readonly PackedOutcome[],
): void {
  const { request } = write;
  if (request === undefined) return;
  const stored: StoredAnswer = [
    String(revision),
    outcomes.map(([version, createdUs, updatedUs, change, labels], position) => [
      String(version),
      String(createdUs),
      String(updatedUs),
      change,
      labels ?? write.steps[position]?.labels ?? "{}",
      write.steps[position]?.id ?? "",
    ]),
  ];
  statements.insertRequest.run(
    request.id,
    request.fingerprint,
    write.nowUs,
    JSON.stringify(stored),
  );
}
