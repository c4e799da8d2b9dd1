import type { Any } from "@bufbuild/protobuf/wkt";
import { invalidField } from "../errors.ts";
import { quote } from "../registry/names.ts";
import type { TypeSnapshot } from "../registry/type-snapshot.ts";

const answeredPrefix = "type.googleapis.com/";

export function typeUrlOf(typeName: string): string {
  return answeredPrefix + typeName;
}

/**
 * The bytes of a record's message in a request, copied out of the buffer they came in.
 *
 * @param field the request's field that holds the Any.
 * @throws {CollectorError} ARGUMENT_MISSING, TYPE_NOT_REGISTERED, ITEM_TYPE_MISMATCH, each naming
 * the type that is expected.
 */
export function itemBytes(
  item: Any | undefined,
  typeName: string,
  snapshot: TypeSnapshot,
  field: string,
): Uint8Array {
  if (item === undefined) {
    throw invalidField("ARGUMENT_MISSING", field, `is missing; send a ${typeName} in an Any`);
  }
  checkTypeUrl(item.typeUrl, typeName, snapshot, field);
  return new Uint8Array(item.value);
}

function checkTypeUrl(
  typeUrl: string,
  typeName: string,
  snapshot: TypeSnapshot,
  field: string,
): void {
  const prefixLength = typeUrl.length - typeName.length;
  if (typeUrl.endsWith(typeName) && (prefixLength === 0 || typeUrl[prefixLength - 1] === "/")) {
    return;
  }
  const expected = `this collection holds ${typeName}, as in ${quote(typeUrlOf(typeName))}`;
  const urlField = `${field}.type_url`;
  const given = typeUrl.slice(typeUrl.lastIndexOf("/") + 1);
  if (given === "")
    throw invalidField("ITEM_TYPE_MISMATCH", urlField, `names no type; ${expected}`);
  if (snapshot.types.getMessage(given) === undefined) {
    throw invalidField(
      "TYPE_NOT_REGISTERED",
      urlField,
      `${quote(given)} is not registered in namespace ${quote(snapshot.namespace)}; ${expected}`,
    );
  }
  throw invalidField("ITEM_TYPE_MISMATCH", urlField, `is of type ${given}; ${expected}`);
}
