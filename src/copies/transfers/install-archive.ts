import type { Archives } from "../../archive/archive.ts";
import { typeNameOf } from "../../collections/record-collection.ts";
import { type CollectorError, invalidField } from "../../errors.ts";
import type { ArchiveManifest } from "../../gen/collector/archive_pb.ts";
import { unusableBase } from "../archive-failures.ts";
import type {
  ArchiveInstaller,
  ArchiveKeys,
  CopyRun,
  InstalledCollection,
  InstallRequest,
} from "../copy-parts.ts";

/** What is to be made of an archive that came from elsewhere, and what was said of it. */
export interface ArchiveArrival {
  /** Empty: as in the archive. */
  readonly namespace: string;
  /** Empty: as in the archive. */
  readonly name: string;
  readonly mode: InstallRequest["mode"];
  /** False leaves out files that are in the archive. */
  readonly includeFiles: boolean;
  /** 0: not said. */
  readonly recordCount: bigint;
  /** 0: not said. */
  readonly fileCount: bigint;
  /** Full name; empty: not said. */
  readonly messageName: string;
  /** It holds what changed since then in the copy that has the name; undefined: everything. */
  readonly base: { readonly incarnation: string; readonly revision: bigint } | undefined;
}

export interface InstallArchiveParts {
  readonly archives: Archives;
  readonly installer: ArchiveInstaller;
  readonly keys: Pick<ArchiveKeys, "identities">;
}

/**
 * Makes a collection of an archive that came from elsewhere, if it is what was said of it.
 *
 * @param file all of it is there. `sha256` in hex; empty: not checked.
 * @throws {CollectorError} ARGUMENT_INVALID naming what is not as it was said, BASE_UNUSABLE, and what
 * {@link ArchiveInstaller.install} throws
 */
export async function installArchive(
  { archives, installer, keys }: InstallArchiveParts,
  file: { readonly path: string; readonly sha256: string },
  arrival: ArchiveArrival,
  run: CopyRun,
): Promise<InstalledCollection> {
  run.report({ phase: "unpacking" });
  const manifest = await archives.manifest(file.path, keys.identities);
  const { collection, collectorId, backupId } = manifest;
  checkArrival(arrival, manifest);
  const { namespace: sourceNamespace = "", name: sourceName = "" } = collection ?? {};
  return await installer.install(
    {
      chain: [file.path],
      sha256: file.sha256,
      namespace: arrival.namespace === "" ? sourceNamespace : arrival.namespace,
      name: arrival.name === "" ? sourceName : arrival.name,
      mode: arrival.mode,
      onto: arrival.base !== undefined,
      withoutFiles: !arrival.includeFiles,
      origin: {
        backupId,
        collectorId,
        collectionId: collection?.collectionId ?? "",
        collection: {
          $typeName: "collector.NamespacedName",
          namespace: sourceNamespace,
          name: sourceName,
        },
      },
    },
    run,
  );
}

/** @throws {CollectorError} ARGUMENT_INVALID, BASE_UNUSABLE */
function checkArrival(arrival: ArchiveArrival, manifest: ArchiveManifest): void {
  const { recordCount, fileCount, messageName, base } = arrival;
  if (recordCount !== 0n && recordCount !== manifest.recordCount) {
    throw mismatch("record_count", recordCount, manifest.recordCount);
  }
  if (fileCount !== 0n && fileCount !== manifest.fileCount) {
    throw mismatch("file_count", fileCount, manifest.fileCount);
  }
  if (messageName !== "" && manifest.collection !== undefined) {
    const actual = typeNameOf(manifest.collection);
    if (messageName !== actual) throw mismatch("message_type", messageName, actual);
  }
  if (base === undefined && manifest.base !== undefined) {
    throw unusableBase("the archive holds changes alone, and nothing says what they are based on");
  }
  if (base === undefined) return;
  if (base.revision !== manifest.base?.revision) {
    throw mismatch("base_revision", base.revision, manifest.base?.revision ?? 0n);
  }
  if (base.incarnation !== manifest.base.incarnation) {
    throw mismatch("base_incarnation", base.incarnation, manifest.base.incarnation);
  }
}

function mismatch(field: string, said: unknown, actual: unknown): CollectorError {
  const description = `is ${String(said)}, and the archive has ${String(actual)}`;
  return invalidField("ARGUMENT_INVALID", field, description);
}
