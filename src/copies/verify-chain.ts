import { stat } from "node:fs/promises";
import type { Archives } from "../archive/archive.ts";
import { BackupMetadata_Content } from "../gen/collector/collection_repo_pb.ts";
import { isArchiveFault } from "./archive-failures.ts";
import { isThere } from "./backup-folders.ts";
import { checkIdentity } from "./backup-identity.ts";
import type { ChainLink } from "./backup-table.ts";
import type {
  ArchiveInstaller,
  ArchiveKeys,
  ArchiveProblem,
  CopyRun,
  NoteDigest,
  VerifyRegistry,
} from "./copy-parts.ts";

export interface VerifyChainOptions {
  readonly installer: Pick<ArchiveInstaller, "verify">;
  readonly verifyRegistry: VerifyRegistry;
  readonly archives: Pick<Archives, "manifest">;
  readonly keys: Pick<ArchiveKeys, "identities">;
}

/**
 * Reads all that a restore of a backup would read.
 *
 * @param chain the one that holds everything first
 * @param noteDigest told of the SHA-256 of each archive that could be read to its end
 * @returns what is wrong; archives are named by their place in the chain
 * @throws {CollectorError} KEY_UNAVAILABLE, ARCHIVE_TOO_NEW, CANCELLED, DISK_FULL
 */
export async function verifyChain(
  chain: readonly ChainLink[],
  run: CopyRun,
  noteDigest: NoteDigest,
  options: VerifyChainOptions,
): Promise<readonly ArchiveProblem[]> {
  const missing = await missingOf(chain);
  if (missing.length > 0) return missing;
  const digests = new Map<number, string>();
  const note: NoteDigest = (archive, sha256) => {
    digests.set(archive, sha256);
    noteDigest(archive, sha256);
  };
  const problems = await problemsOf(chain, run, note, options);
  return [...problems, ...(await differencesOf(chain, digests))];
}

async function problemsOf(
  chain: readonly ChainLink[],
  run: CopyRun,
  noteDigest: NoteDigest,
  { installer, verifyRegistry, archives, keys }: VerifyChainOptions,
): Promise<readonly ArchiveProblem[]> {
  try {
    const last = chain.at(-1);
    if (last?.backup.content === BackupMetadata_Content.REGISTRY) {
      return await verifyRegistry(last.path, last.backup.backupId, run, noteDigest);
    }
    const paths = chain.map(({ path }) => path);
    const problems = await installer.verify(paths, run, noteDigest);
    if (problems.length > 0) return problems;
    await checkIdentity(chain, archives, keys.identities);
    return [];
  } catch (error) {
    if (!isArchiveFault(error)) throw error;
    const description = error.message;
    return [{ archive: chain.length - 1, part: "manifest", offset: -1n, description }];
  }
}

/** An archive may be whole, and another one than was put there. */
async function differencesOf(
  chain: readonly ChainLink[],
  digests: ReadonlyMap<number, string>,
): Promise<readonly ArchiveProblem[]> {
  const differences: ArchiveProblem[] = [];
  for (const [archive, { backup, path }] of chain.entries()) {
    const sha256 = digests.get(archive);
    // What is wrong with it otherwise was told.
    if (sha256 === undefined) continue;
    const note = (what: string): void => {
      const description = `it is whole, but not the archive that is known: ${what}`;
      differences.push({ archive, part: "trailer", offset: -1n, description });
    };
    if (backup.sha256 !== "") {
      if (sha256 !== backup.sha256) note(`its SHA-256 is ${sha256}, not ${backup.sha256}`);
      continue;
    }
    const sizeBytes = BigInt((await stat(path)).size);
    if (sizeBytes !== backup.sizeBytes) {
      note(`it has ${sizeBytes} bytes, not ${backup.sizeBytes}`);
    }
  }
  return differences;
}

async function missingOf(chain: readonly ChainLink[]): Promise<readonly ArchiveProblem[]> {
  const missing: ArchiveProblem[] = [];
  for (const [archive, { path }] of chain.entries()) {
    if (await isThere(path)) continue;
    missing.push({ archive, part: "header", offset: -1n, description: "the archive is missing" });
  }
  return missing;
}
