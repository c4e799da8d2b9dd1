import { randomUUIDv7 } from "node:crypto";
import { mkdir, mkdtemp, realpath, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampNow } from "@bufbuild/protobuf/wkt";
import type { Archives } from "../../../archive/archive.ts";
import { createArchives } from "../../../archive/archive-pool.ts";
import { CollectorError } from "../../../errors.ts";
import type { ArchiveManifest, ArchiveManifestSchema } from "../../../gen/collector/archive_pb.ts";
import {
  type BackupMetadata,
  BackupMetadata_Content,
} from "../../../gen/collector/collection_repo_pb.ts";
import { BackupFolders } from "../../backup-folders.ts";
import { BackupImport } from "../backup-import.ts";
import { BackupUploads } from "../backup-uploads.ts";

export type Manifest = Exclude<MessageInitShape<typeof ArchiveManifestSchema>, ArchiveManifest>;

/** A backup folder, and a list of backups in memory, that archives are taken into. */
export class ArchiveBench implements AsyncDisposable {
  readonly own: string;
  readonly other: string;
  /** Not a backup folder. */
  readonly outside: string;
  readonly known: BackupMetadata[] = [];
  readonly imports: BackupImport;
  readonly uploads: BackupUploads;
  readonly #archives: Archives;
  readonly #data: string;

  private constructor(folder: string, folders: BackupFolders) {
    this.own = folders.own;
    this.other = join(folder, "other");
    this.outside = join(folder, "outside");
    this.#data = join(folder, "data");
    this.#archives = createArchives({ threads: 1 });
    const find = (id: string): BackupMetadata | undefined =>
      this.known.find(({ backupId }) => backupId === id);
    const backups = {
      all: () => this.known,
      get: (id: string): BackupMetadata => {
        const backup = find(id);
        if (backup === undefined) throw new CollectorError("BACKUP_NOT_FOUND", "it is not known");
        return backup;
      },
      hold: (): Disposable => ({ [Symbol.dispose]: () => undefined }),
      adopt: async (backup: BackupMetadata): Promise<BackupMetadata> => {
        if (find(backup.backupId) !== undefined) {
          throw new CollectorError("BACKUP_EXISTS", "it is known");
        }
        this.known.push(backup);
        return backup;
      },
    };
    const options = { backups, folders, archives: this.#archives, keys: { identities: [] } };
    this.imports = new BackupImport(options);
    this.uploads = new BackupUploads(options);
  }

  static async open(): Promise<ArchiveBench> {
    const folder = await realpath(await mkdtemp(join(tmpdir(), "collector-archives-")));
    for (const name of ["other", "outside"]) await mkdir(join(folder, name));
    await writeFile(join(folder, "data"), "the data");
    return new ArchiveBench(
      folder,
      await BackupFolders.open(join(folder, "own"), [join(folder, "other")]),
    );
  }

  /** Puts an archive into the backup folder, with a manifest of its own. @returns its id */
  put(name: string, manifest: Manifest = {}): Promise<string> {
    return this.pack(join(this.own, name), manifest);
  }

  /** Puts an archive anywhere. @returns its id */
  async pack(path: string, manifest: Manifest = {}): Promise<string> {
    const backupId = manifest.backupId ?? randomUUIDv7();
    await mkdir(join(path, ".."), { recursive: true });
    await this.#archives.pack({
      path,
      manifest: {
        content: BackupMetadata_Content.COLLECTION,
        collection: { namespace: "shop", name: "prices", collectionId: "c1" },
        moment: timestampNow(),
        incarnation: "i1",
        revision: 5n,
        recordCount: 3n,
        backupId,
        ...manifest,
      },
      parts: [{ name: manifest.base === undefined ? "database" : "changes", path: this.#data }],
      recipients: [],
    });
    return backupId;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#archives[Symbol.asyncDispose]();
    await rm(join(this.own, ".."), { recursive: true });
  }
}
