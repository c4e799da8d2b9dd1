import { CollectorError, invalidField } from "../../errors.ts";
import { decodePageToken, encodePageToken, type PageQuery } from "../../lib/page-token.ts";
import { historyGone } from "./feed-event.ts";

/** A moment in the life of a collection's data. */
export interface Moment {
  readonly revision: bigint;
  readonly incarnation: string;
}

/** A token of Watch and Export to go on from a moment: of use with the same collection only. */
export function encodeResumeToken(collectionId: string, moment: Moment): string {
  return encodePageToken(queryOf(collectionId), `${moment.revision} ${moment.incarnation}`);
}

/**
 * The revision that a token goes on from.
 *
 * @param incarnation of the collection's data.
 * @throws {CollectorError} ARGUMENT_INVALID if the token is not of this collection; HISTORY_GONE if it
 * is of data that was replaced.
 */
export function decodeResumeToken(
  token: string,
  collectionId: string,
  incarnation: string,
): bigint {
  const [revision = "", madeIn] = read(token, collectionId).split(" ");
  if (madeIn !== incarnation) throw historyGone();
  return BigInt(revision);
}

function read(token: string, collectionId: string): string {
  try {
    return decodePageToken(token, queryOf(collectionId));
  } catch (error) {
    if (!(error instanceof CollectorError)) throw error;
    throw invalidField(
      "ARGUMENT_INVALID",
      "resume_token",
      "is not of this collection; send one that Watch or Export gave for it, or none to start now",
    );
  }
}

function queryOf(collectionId: string): PageQuery {
  return ["Watch", collectionId];
}
