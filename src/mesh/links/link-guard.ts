import { timingSafeEqual } from "node:crypto";
import { invalidField } from "../../errors.ts";
import { isProof, nonceBytes, proofOf } from "./dial-back.ts";
import type { Via } from "./link-calls.ts";
import { type LinkTable, linkNotFound } from "./link-table.ts";

/** Knows which calls came over a link, and proves to others that this end has it. */
export class LinkGuard {
  readonly #table: LinkTable;
  readonly #collectorId: string;

  constructor(table: LinkTable, collectorId: string) {
    this.#table = table;
    this.#collectorId = collectorId;
  }

  /** @param credential what a call carries; see `linkHeader`. Nothing is told of why it is not good */
  verify(credential: string): Via | undefined {
    const at = credential.lastIndexOf(".");
    const link = this.#table.byId(credential.slice(0, Math.max(0, at)));
    const secret = link?.live?.secret;
    if (link === undefined || secret === undefined) return undefined;
    const expected = Buffer.from(Buffer.from(secret).toString("hex"));
    const given = Buffer.from(credential.slice(at + 1));
    if (given.byteLength !== expected.byteLength) return undefined;
    if (!timingSafeEqual(given, expected)) return undefined;
    return { connectionId: link.id, collectorId: link.peerId };
  }

  /**
   * @param askerProof shows that the other end of the link asks
   * @throws {CollectorError} LINK_NOT_FOUND, ARGUMENT_MISSING, ARGUMENT_INVALID
   */
  identify(
    connectionId: string,
    nonce: Uint8Array,
    askerProof: Uint8Array,
  ): { collectorId: string; proof: Uint8Array } {
    if (connectionId === "") {
      throw invalidField("ARGUMENT_MISSING", "connection_id", "names no link");
    }
    if (nonce.byteLength !== nonceBytes) {
      const text = `has ${nonce.byteLength} bytes, not ${nonceBytes}`;
      throw invalidField("ARGUMENT_INVALID", "nonce", text);
    }
    const link = this.#table.byId(connectionId);
    const secret = link?.live?.secret;
    const isOtherEnd =
      link !== undefined && secret !== undefined && isProof(askerProof, secret, nonce, link.peerId);
    if (!isOtherEnd) throw linkNotFound(connectionId);
    const collectorId = this.#collectorId;
    return { collectorId, proof: proofOf(secret, nonce, collectorId) };
  }
}
