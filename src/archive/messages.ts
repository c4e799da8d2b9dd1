import type { ArchiveFault, PartSource } from "./archive.ts";
import type { CancelFlag } from "./cancel-flag.ts";
import type { PackedFailure } from "./file-failure.ts";

/** What a thread is asked to do. Manifests travel in binary form. */
export type ArchiveJob =
  | {
      readonly kind: "pack";
      readonly path: string;
      readonly manifest: Uint8Array;
      readonly parts: readonly PartSource[];
      /** A ContentList as it travels, and its folder. */
      readonly contents: {
        readonly digests: Uint8Array;
        readonly sizes: Uint8Array;
        readonly folder: string;
      };
      readonly recipients: readonly string[];
    }
  | { readonly kind: "manifest"; readonly path: string; readonly identities: readonly string[] }
  | {
      readonly kind: "unpack";
      readonly path: string;
      readonly identities: readonly string[];
      readonly targets: ReadonlyMap<string, string>;
      readonly contentsFolder: string | undefined;
      readonly diskReserveBytes: number;
    };

export interface PackAnswer {
  readonly manifest: Uint8Array;
  readonly sizeBytes: bigint;
  readonly sha256: string;
}

export interface UnpackAnswer {
  readonly manifest: Uint8Array | undefined;
  readonly faults: readonly ArchiveFault[];
  readonly sha256: string | undefined;
}

export interface ArchiveAnswers {
  readonly pack: PackAnswer;
  readonly manifest: Uint8Array;
  readonly unpack: UnpackAnswer;
}

/** A thread does one job at a time. */
export interface ArchiveRequest {
  readonly job: ArchiveJob;
  readonly cancelled: CancelFlag;
}

export type ArchiveReport =
  | { readonly kind: "progress"; readonly done: bigint; readonly total: bigint }
  | { readonly kind: "done"; readonly answer: ArchiveAnswers[keyof ArchiveAnswers] }
  | { readonly kind: "failed"; readonly failure: PackedFailure };
