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
  const { installer, verifyRegistry, archives, keys } = options;
  const missing = await missingOf(chain);
  if (missing.length > 0) return missing;
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

async function missingOf(chain: readonly ChainLink[]): Promise<readonly ArchiveProblem[]> {
  const missing: ArchiveProblem[] = [];
  for (const [archive, { path }] of chain.entries()) {
    if (await isThere(path)) continue;
    missing.push({ archive, part: "header", offset: -1n, description: "the archive is missing" });
  }
  return missing;
}
