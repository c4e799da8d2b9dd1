import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from "node:crypto";
import { CollectorError, invalidField } from "../errors.ts";
import { damaged } from "./format.ts";

/** First line of every age file. */
export const ageMagic: Buffer = Buffer.from("age-encryption.org/v1\n");

/** Longest header that is read: room for some hundred recipients. */
export const ageHeaderBytesMax: number = 1024 * 1024;

/** Plain bytes of a chunk of the payload; only the last has fewer. */
export const ageChunkBytes: number = 64 * 1024;

/** What encryption adds to a chunk. */
export const ageTagBytes = 16;

export const ageNonceBytes = 16;

/** The start of an age file, and the key of what follows. */
export interface AgeStart {
  /** The header with the payload's nonce. */
  readonly bytes: Buffer;
  readonly key: Buffer;
}

/**
 * Begins an age file. The package makes the header; the payload is encrypted by {@link sealChunk}, since
 * OpenSSL's ChaCha20-Poly1305 is many times faster than one in JavaScript.
 *
 * @throws {CollectorError} ARGUMENT_INVALID for a recipient that is none.
 */
export async function beginAge(recipients: readonly string[]): Promise<AgeStart> {
  const { Encrypter } = await loadAge();
  const encrypter = new Encrypter();
  let fileKey: Uint8Array | undefined;
  for (const [index, recipient] of recipients.entries()) {
    try {
      encrypter.addRecipient(recipient);
    } catch {
      throw notRecipient(`recipient ${index + 1} is none; one starts with age1`);
    }
  }
  // Adds nothing to the header: it is only told the key that the others wrap.
  encrypter.addRecipient({
    wrapFileKey: (key) => {
      fileKey = Uint8Array.from(key);
      return [];
    },
  });
  const empty = await encrypter.encrypt(new Uint8Array(0)).catch(() => {
    throw notRecipient("one of the recipients cannot be encrypted to");
  });
  if (fileKey === undefined) throw new Error("age gave no file key");
  const header = empty.subarray(0, empty.length - ageNonceBytes - ageTagBytes);
  const nonce = randomBytes(ageNonceBytes);
  return { bytes: Buffer.concat([header, nonce]), key: payloadKey(fileKey, nonce) };
}

/** Where the header ends, or undefined if its end is not among the bytes. */
export function ageHeaderEnd(bytes: Buffer): number | undefined {
  const mac = bytes.indexOf("\n--- ");
  const end = mac < 0 ? -1 : bytes.indexOf("\n", mac + 1);
  return end < 0 ? undefined : end + 1;
}

/**
 * The key of the payload.
 *
 * @throws {CollectorError} KEY_UNAVAILABLE if no identity fits, ARCHIVE_DAMAGED
 */
export async function openAge(
  header: Uint8Array,
  nonce: Uint8Array,
  identities: readonly string[],
): Promise<Buffer> {
  const { Decrypter } = await loadAge();
  const decrypter = new Decrypter();
  for (const [index, identity] of identities.entries()) {
    try {
      decrypter.addIdentity(identity);
    } catch {
      throw keyUnavailable(`identity ${index + 1} is not one of age`);
    }
  }
  let noneFits = false;
  // Asked only if none of those before it fits.
  decrypter.addIdentity({
    unwrapFileKey: () => {
      noneFits = true;
      return null;
    },
  });
  try {
    return payloadKey(await decrypter.decryptHeader(header), nonce);
  } catch {
    if (!noneFits) throw damaged("its age header does not match its checksum");
    throw keyUnavailable(
      identities.length === 0 ? "no identity is configured" : "none of the identities fits",
    );
  }
}

/** Encrypts a chunk of the payload. */
export function sealChunk(key: Buffer, index: number, isLast: boolean, plain: Buffer): Buffer[] {
  const cipher = createCipheriv("chacha20-poly1305", key, chunkNonce(index, isLast), {
    authTagLength: ageTagBytes,
  });
  const sealed = cipher.update(plain);
  cipher.final();
  return [sealed, cipher.getAuthTag()];
}

/** Decrypts a chunk of the payload; undefined if it is not what was encrypted, or not at this place. */
export function openChunk(
  key: Buffer,
  index: number,
  isLast: boolean,
  sealed: Buffer,
): Buffer | undefined {
  const tagAt = sealed.length - ageTagBytes;
  if (tagAt < 0) return undefined;
  const decipher = createDecipheriv("chacha20-poly1305", key, chunkNonce(index, isLast), {
    authTagLength: ageTagBytes,
  });
  decipher.setAuthTag(sealed.subarray(tagAt));
  const plain = decipher.update(sealed.subarray(0, tagAt));
  try {
    decipher.final();
  } catch {
    return undefined;
  }
  return plain;
}

function chunkNonce(index: number, isLast: boolean): Buffer {
  const nonce = Buffer.alloc(12);
  nonce.writeUIntBE(index, 5, 6);
  nonce[11] = isLast ? 1 : 0;
  return nonce;
}

function payloadKey(fileKey: Uint8Array, nonce: Uint8Array): Buffer {
  return Buffer.from(hkdfSync("sha256", fileKey, nonce, "payload", 32));
}

function notRecipient(description: string): CollectorError {
  return invalidField("ARGUMENT_INVALID", "recipients", description);
}

function keyUnavailable(why: string): CollectorError {
  return new CollectorError("KEY_UNAVAILABLE", `the archive is encrypted, and ${why}`);
}

/** Takes some 40 ms of a core in each thread, which most archives do not need. */
function loadAge(): Promise<typeof import("age-encryption")> {
  return import("age-encryption");
}
