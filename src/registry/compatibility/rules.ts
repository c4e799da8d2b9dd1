import type { TypeEntry } from "../schema/file-index.ts";

/** The rules of buf's category WIRE_JSON, by their names there. */
export type Rule =
  | "ENUM_SAME_JSON_FORMAT"
  | "ENUM_VALUE_NO_DELETE_UNLESS_NAME_RESERVED"
  | "ENUM_VALUE_NO_DELETE_UNLESS_NUMBER_RESERVED"
  | "ENUM_VALUE_SAME_NAME"
  | "FIELD_NO_DELETE_UNLESS_NAME_RESERVED"
  | "FIELD_NO_DELETE_UNLESS_NUMBER_RESERVED"
  | "FIELD_SAME_DEFAULT"
  | "FIELD_SAME_JSON_NAME"
  | "FIELD_SAME_NAME"
  | "FIELD_SAME_ONEOF"
  | "FIELD_WIRE_JSON_COMPATIBLE_CARDINALITY"
  | "FIELD_WIRE_JSON_COMPATIBLE_TYPE"
  | "FILE_SAME_PACKAGE"
  | "MESSAGE_SAME_JSON_FORMAT"
  | "MESSAGE_SAME_REQUIRED_FIELDS"
  | "RESERVED_ENUM_NO_DELETE"
  | "RESERVED_MESSAGE_NO_DELETE"
  | "RPC_SAME_CLIENT_STREAMING"
  | "RPC_SAME_IDEMPOTENCY_LEVEL"
  | "RPC_SAME_REQUEST_TYPE"
  | "RPC_SAME_RESPONSE_TYPE"
  | "RPC_SAME_SERVER_STREAMING";

/** One thing that breaks, and the rule that says so. */
export interface Change {
  readonly rule: Rule;
  /** Names the element, and what changed. */
  readonly description: string;
}

export type ReportChange = (rule: Rule, description: string) => void;

/** Types by full name, wherever they are declared. */
export interface TypesAround {
  readonly before: (fullName: string) => TypeEntry | undefined;
  readonly after: (fullName: string) => TypeEntry | undefined;
}
