import type { Clock } from "../../lib/clock.ts";
import type { Limits } from "../../lib/limits.ts";
import type {
  RecordContent,
  StorageEngine,
  StoreLayout,
  StoreLocation,
  WriteStep,
} from "../record-store.ts";

export interface HarnessOptions {
  readonly limits?: Partial<Limits>;
  readonly clock?: Clock;
}

/** An engine on storage of its own, which goes when the harness is disposed. */
export interface EngineHarness extends AsyncDisposable {
  readonly engine: StorageEngine;
  /** Closes the engine and opens one on the same storage, which is `engine` from then on. */
  reopen(): Promise<void>;
}

export type OpenHarness = (options?: HarnessOptions) => Promise<EngineHarness>;

export const people: StoreLocation = { storeId: "people", generation: 1n };

export const peopleLayout: StoreLayout = {
  durability: "full",
  textFields: ["name", "notes"],
  indexes: [{ path: "age" }],
};

export type Fields = Readonly<Record<string, unknown>>;

/** Content of the fields that {@link peopleLayout} names, and others. */
export function contentOf(fields: Fields): RecordContent {
  const document = JSON.stringify(fields);
  const text = (value: unknown): string => (typeof value === "string" ? value : "");
  return {
    data: Buffer.from(document),
    document,
    texts: [text(fields["name"]), text(fields["notes"])],
  };
}

export function createStep(
  id: string,
  fields: Fields = {},
  labels: Readonly<Record<string, string>> = {},
): WriteStep {
  return { kind: "create", id, content: contentOf(fields), labels };
}

export function updateStep(id: string, fields: Fields, ifVersion?: bigint): WriteStep {
  return { kind: "update", id, content: contentOf(fields), labels: undefined, ifVersion };
}

/** A clock that moves only when it is told to. */
export class ManualClock implements Clock {
  #nowUs = 1_700_000_000_000_000n;

  nowUs(): bigint {
    return this.#nowUs;
  }

  advanceMs(ms: number): void {
    this.#nowUs += BigInt(ms) * 1000n;
  }
}
