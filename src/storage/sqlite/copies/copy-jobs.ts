import type { ContentList } from "../../../lib/content-list.ts";
import type {
  CopyExpectation,
  CopyFacts,
  CopyProgress,
  RecordCheck,
  StoreSnapshot,
} from "../../store-copies.ts";
import type { Failure } from "../failure.ts";

/** What a copy process is told to do, one thing at a time. */
export type CopyJob =
  | {
      readonly kind: "snapshot";
      readonly source: string;
      readonly target: string;
      readonly files: boolean;
      readonly nowUs: bigint;
    }
  | {
      readonly kind: "check";
      readonly path: string;
      readonly expected: Omit<CopyExpectation, "contents"> & {
        readonly contents: SentContents | undefined;
      };
      readonly record: RecordCheck | undefined;
      readonly nowUs: bigint;
    }
  | { readonly kind: "complete"; readonly path: string };

/** A ContentList on its way from one process to the other. */
export type SentContents = Pick<ContentList, "digests" | "sizes">;

/** What a snapshot found inside of itself. */
export interface SnapshotFacts extends CopyFacts {
  readonly contents: SentContents;
  readonly layout: StoreSnapshot["layout"];
}

export interface CopyResults {
  readonly snapshot: SnapshotFacts;
  readonly check: readonly string[];
  readonly complete: undefined;
}

export type CopyReport =
  | { readonly kind: "progress"; readonly progress: CopyProgress }
  | { readonly kind: "done"; readonly result: CopyResults[keyof CopyResults] }
  | { readonly kind: "failed"; readonly failure: Failure };
