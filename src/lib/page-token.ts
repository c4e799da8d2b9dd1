import { createHash } from "node:crypto";
import { invalidField } from "../errors.ts";
import type { Limits } from "./limits.ts";

/** Longest page token that is looked at, in characters: it holds the keys that a list is sorted by. */
export const pageTokenCharsMax: number = 64 * 1024;

const formatVersion = 1;
const checkBytes = 9;

/** The paging arguments of a request, as they came in. */
export interface PageRequest {
  readonly pageSize: number;
  readonly pageToken: string;
}

/** Checked paging arguments. */
export interface Page {
  /** From 1 to the limit. */
  readonly size: number;
  /** The cursor that the page before gave to {@link encodePageToken}; undefined on the first page. */
  readonly after: string | undefined;
}

/**
 * What a token belongs to: the method, and every argument that has to stay the same from page to
 * page (not the page size). The order counts.
 */
export type PageQuery = readonly string[];

/**
 * Reads the paging arguments of a request: a page size of 0 means the default, one above the limit
 * is coerced to it.
 *
 * @throws {CollectorError} PAGE_SIZE_INVALID if the size is negative. PAGE_TOKEN_INVALID if the
 * token was not made by {@link encodePageToken} for the same query.
 */
export function readPage(
  request: PageRequest,
  query: PageQuery,
  limits: Pick<Limits, "pageSizeDefault" | "pageSizeMax">,
): Page {
  const { pageSize, pageToken } = request;
  if (!Number.isInteger(pageSize) || pageSize < 0) {
    throw invalidField(
      "PAGE_SIZE_INVALID",
      "page_size",
      `is ${pageSize}; send 1 to ${limits.pageSizeMax}, or 0 for ${limits.pageSizeDefault}`,
    );
  }
  return {
    size: Math.min(pageSize === 0 ? limits.pageSizeDefault : pageSize, limits.pageSizeMax),
    after: pageToken === "" ? undefined : decodePageToken(pageToken, query),
  };
}

/**
 * A token for the page after `cursor`: opaque, safe in URLs, of use only with the same query.
 *
 * It guards against mistakes, not against forgery: a cursor must hold nothing secret, and where it
 * points must be checked like any other input.
 */
export function encodePageToken(query: PageQuery, cursor: string): string {
  const body = Buffer.from(cursor, "utf8");
  return Buffer.concat([Buffer.of(formatVersion), checkOf(query, body), body]).toString(
    "base64url",
  );
}

/** @throws {CollectorError} PAGE_TOKEN_INVALID */
export function decodePageToken(token: string, query: PageQuery): string {
  if (token.length > pageTokenCharsMax) throw invalidToken();
  const bytes = Buffer.from(token, "base64url");
  // Decoding skips what is not base64, so one token could be written in many ways.
  if (bytes.toString("base64url") !== token || bytes[0] !== formatVersion) throw invalidToken();
  const check = bytes.subarray(1, 1 + checkBytes);
  const body = bytes.subarray(1 + checkBytes);
  if (!check.equals(checkOf(query, body))) throw invalidToken();
  return body.toString("utf8");
}

function checkOf(query: PageQuery, body: Buffer): Buffer {
  const hash = createHash("sha256");
  hash.update(JSON.stringify([formatVersion, ...query]));
  hash.update(body);
  return hash.digest().subarray(0, checkBytes);
}

function invalidToken(): Error {
  return invalidField(
    "PAGE_TOKEN_INVALID",
    "page_token",
    "is not of this query; repeat the arguments of the page before with its next_page_token, or send none to start over",
  );
}
