import { readFile } from "node:fs/promises";
import { Decrypter, Encrypter } from "age-encryption";
import { CollectorError } from "../errors.ts";
import type { ArchiveKeys } from "./copy-parts.ts";

/**
 * Reads the keys that backups are encrypted with.
 *
 * @param settings as in the configuration: `backupRecipients` and `backupIdentityFile`
 * @throws {CollectorError} ARGUMENT_INVALID for a file that cannot be read, or a key that is none
 */
export async function loadArchiveKeys(settings: {
  readonly backupRecipients: readonly string[];
  readonly backupIdentityFile?: string | undefined;
}): Promise<ArchiveKeys> {
  const { backupRecipients: recipients, backupIdentityFile } = settings;
  for (const [at, recipient] of recipients.entries()) {
    try {
      new Encrypter().addRecipient(recipient);
    } catch (cause) {
      const description = "is no age recipient; one begins with age1";
      throw invalidKey(`backupRecipients[${at}] ${description}`, cause);
    }
  }
  if (backupIdentityFile === undefined) return { recipients, identities: [] };
  let text: string;
  try {
    text = await readFile(backupIdentityFile, "utf8");
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw invalidKey(`backupIdentityFile: cannot read ${backupIdentityFile}: ${reason}`, cause);
  }
  const identities = text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"));
  for (const identity of identities) {
    try {
      new Decrypter().addIdentity(identity);
    } catch (cause) {
      // The line may be a secret: it is not shown.
      const description = "has a line that is no age identity; one begins with AGE-SECRET-KEY-1";
      throw invalidKey(`backupIdentityFile ${description}`, cause);
    }
  }
  return { recipients, identities };
}

function invalidKey(message: string, cause: unknown): CollectorError {
  return new CollectorError("ARGUMENT_INVALID", message, { cause });
}
