// Each line that is wrong says what the compiler answers; every other line has to compile.
import { CollectorError, type ErrorReason } from "collector";
import { ClientError, type ClientErrorReason } from "collector/client";

/** The reasons are a closed union: comparing with what is none does not compile. */
export function advice(error: unknown): string {
  if (!(error instanceof ClientError)) return "not a failure of a call";
  if (error.reason === "RECORD_NOT_FUOND") return "never"; // error: have no overlap
  switch (error.reason) {
    case "RECORD_NOT_FOUND":
      return "create it";
    case "VERSION_MISMATCH":
      return "read it again";
    default:
      return error.retryable ? "later" : "never";
  }
}

type Handled = "RECORD_NOT_FOUND" | "VERSION_MISMATCH";

/** A switch that leaves out a reason is found, and names what is missing. */
export function exhaustive(reason: Extract<ClientErrorReason, Handled | "DISK_FULL">): number {
  switch (reason) {
    case "RECORD_NOT_FOUND":
      return 1;
    case "VERSION_MISMATCH":
      return 2;
    default:
      return reason satisfies never; // error: "DISK_FULL"' does not satisfy
  }
}

/** With all of them, it compiles. */
export function complete(reason: Extract<ClientErrorReason, Handled>): number {
  switch (reason) {
    case "RECORD_NOT_FOUND":
      return 1;
    case "VERSION_MISMATCH":
      return 2;
    default:
      return reason satisfies never;
  }
}

const any: ClientErrorReason = "SOMETHING"; // error: '"SOMETHING"' is not assignable
const ofServer: ErrorReason = "CONNECTION_FAILED"; // error: '"CONNECTION_FAILED"' is not assignable
const table: Record<ErrorReason, string> = { RECORD_NOT_FOUND: "x" }; // error: is missing the following properties
new CollectorError("SOMETHING", "x"); // error: '"SOMETHING"' is not assignable
