import { timestampOfUs } from "../collections/record-answers.ts";
import type { BackupMetadata } from "../gen/collector/collection_repo_pb.ts";
import type { Clock } from "../lib/clock.ts";
import type { BackupKeeper } from "./backup-keeper.ts";
import type { VerifiedBackup } from "./backup-parts.ts";
import type { BackupTable, ChainLink } from "./backup-table.ts";
import type { ArchiveProblem, CopyRun } from "./copy-parts.ts";
import { type VerifyChainOptions, verifyChain } from "./verify-chain.ts";

export interface BackupVerifierOptions extends VerifyChainOptions {
  readonly table: BackupTable;
  readonly keeper: Pick<BackupKeeper, "save">;
  readonly clock: Clock;
}

/** Verifies backups, and notes the outcome. */
export class BackupVerifier {
  readonly #options: BackupVerifierOptions;

  constructor(options: BackupVerifierOptions) {
    this.#options = options;
  }

  /** @throws {CollectorError} BACKUP_NOT_FOUND, and as {@link verifyChain} */
  async verify(backupId: string, run: CopyRun): Promise<VerifiedBackup> {
    const { table } = this.#options;
    table.get(backupId);
    using _held = table.hold(backupId);
    const chain = table.chainOf(backupId);
    const digests = new Map<number, string>();
    const noteDigest = (archive: number, sha256: string): void => void digests.set(archive, sha256);
    const problems = await verifyChain(chain, run, noteDigest, this.#options);
    const [first] = problems;
    if (first === undefined) await this.#learnDigests(chain, digests);
    const bases = chain.slice(0, -1);
    // Others may be based on what is damaged.
    for (const [index, { backup }] of bases.entries()) {
      const own = problems.find(({ archive }) => archive === index);
      if (own !== undefined) await this.#note(backup.backupId, textOf(own));
    }
    const base = first === undefined ? undefined : bases[first.archive];
    const where =
      base === undefined ? "" : `backup ${base.backup.backupId}, which it is based on: `;
    const verifyError = first === undefined ? "" : `${where}${textOf(first)}`;
    return { backup: await this.#note(backupId, verifyError), problems };
  }

  /** @param verifyError what is wrong; empty: nothing */
  async #note(backupId: string, verifyError: string): Promise<BackupMetadata> {
    const { table, keeper, clock } = this.#options;
    const verifyTime = timestampOfUs(clock.nowUs());
    const verified: BackupMetadata = { ...table.get(backupId), verifyTime, verifyError };
    await keeper.save(verified);
    return verified;
  }

  /** What was imported comes without its SHA-256, and all of it has been read now. */
  async #learnDigests(
    chain: readonly ChainLink[],
    digests: ReadonlyMap<number, string>,
  ): Promise<void> {
    const { table, keeper } = this.#options;
    for (const [archive, { backup }] of chain.entries()) {
      const sha256 = digests.get(archive);
      const current = table.get(backup.backupId);
      if (sha256 === undefined || current.sha256 !== "") continue;
      await keeper.save({ ...current, sha256 });
    }
  }
}

function textOf({ part, description }: ArchiveProblem): string {
  return `${part}: ${description}`;
}
