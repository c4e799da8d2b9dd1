import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ArchiveManifest, ArchiveManifestSchema } from "../gen/collector/archive_pb.ts";
import type { ContentList } from "../lib/content-list.ts";

/** A part to be packed. */
export interface PartSource {
  /** As in ArchivePart. */
  readonly name: string;
  /** Absolute; not changed meanwhile. */
  readonly path: string;
}

/** Contents of attached files to be packed. */
export interface ContentsSource {
  readonly list: ContentList;
  /** Absolute; has each of them as `<first two digits>/<SHA-256>`, unchanged. */
  readonly folder: string;
}

export interface ArchiveOptions {
  readonly signal?: AbortSignal | undefined;
  /** Bytes of parts, before compression. */
  readonly onProgress?: ((progress: { done: bigint; total: bigint }) => void) | undefined;
}

export interface PackRequest extends ArchiveOptions {
  /** Absolute; nothing is there yet. */
  readonly path: string;
  /** Without `format_version` and `parts`, which are filled in. */
  readonly manifest: MessageInitShape<typeof ArchiveManifestSchema>;
  /** All but contents of attached files. */
  readonly parts: readonly PartSource[];
  readonly contents?: ContentsSource | undefined;
  /** age recipients; empty: not encrypted. */
  readonly recipients: readonly string[];
}

/** An archive that is whole and on disk. */
export interface PackedArchive {
  readonly manifest: ArchiveManifest;
  readonly sizeBytes: bigint;
  /** Of the whole file, lower-case hex. */
  readonly sha256: string;
}

/** Something that is wrong with an archive. */
export interface ArchiveFault {
  /** `header`, `manifest`, `trailer`, or the name of a part. */
  readonly part: string;
  /** In the file; -1 if not known. */
  readonly offset: bigint;
  readonly description: string;
}

export interface UnpackRequest extends ArchiveOptions {
  readonly path: string;
  /** age identities, for archives that are encrypted. */
  readonly identities: readonly string[];
  /** Where to write each part, absolute: nothing is there yet. Undefined: it is only checked. */
  readonly targets: ReadonlyMap<string, string>;
  /**
   * Absolute; exists and is empty. Where to write the contents of attached files, as `<first two digits>/<SHA-256>`; the folders in
   * it are made. Undefined: they are only checked.
   */
  readonly contentsFolder?: string | undefined;
}

export interface UnpackedArchive {
  readonly manifest: ArchiveManifest | undefined;
  /** Empty: the archive is whole. Otherwise what was written must not be used. */
  readonly faults: readonly ArchiveFault[];
  /** Of the whole file, lower-case hex; undefined if there are faults. */
  readonly sha256: string | undefined;
}

/**
 * Packs, reads and checks archives, in threads of its own. Every byte of an archive is under a checksum:
 * a flipped bit or a missing end is always found.
 */
export interface Archives extends AsyncDisposable {
  /**
   * @throws {CollectorError} CANCELLED, DISK_FULL, STORAGE_UNAVAILABLE, ARGUMENT_INVALID for a recipient
   * that is none. Then nothing is left at the path.
   */
  pack(request: PackRequest): Promise<PackedArchive>;

  /**
   * Reads what comes first, which costs little whatever the size of the archive.
   *
   * @throws {CollectorError} ARCHIVE_INVALID if it is none, ARCHIVE_TOO_NEW, ARCHIVE_DAMAGED,
   * KEY_UNAVAILABLE
   */
  manifest(path: string, identities: readonly string[]): Promise<ArchiveManifest>;

  /**
   * Reads all of it, and writes the parts that are wanted, if there is room for all of them beside the reserve of
   * the disk; not durably.
   *
   * @throws {CollectorError} as {@link manifest} for what is no archive at all, of a newer format or
   * without key; CANCELLED, DISK_FULL. What is damaged is answered, not thrown.
   */
  unpack(request: UnpackRequest): Promise<UnpackedArchive>;
}
