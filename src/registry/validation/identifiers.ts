import { quote } from "../names.ts";
import type { Report } from "./problems.ts";

/** Longest full name of anything declared. */
export const symbolCharsMax = 512;

/** Longest name of a file. */
export const fileNameCharsMax = 512;

/** Highest number of a field. */
export const fieldNumberMax = 536_870_911;

const identifier = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** Checks one name of an element; `element` is what the message calls it. */
export function checkIdentifier(name: string, element: string, report: Report): void {
  if (name === "") {
    report(element, "has no name");
  } else if (!identifier.test(name)) {
    report(element, `${quote(name)} is not an identifier: letters, digits and _, no digit first`);
  }
}

/** Checks a dotted name, as of a package. */
export function isQualifiedName(name: string): boolean {
  return name.split(".").every((part) => identifier.test(part));
}

export function checkFullName(fullName: string, element: string, report: Report): void {
  if (fullName.length > symbolCharsMax) {
    report(
      element,
      `its full name has ${fullName.length} characters, the limit is ${symbolCharsMax}`,
    );
  }
}

/**
 * A name for a `.proto` file: a relative path with forward slashes.
 *
 * @returns what is wrong, or undefined
 */
export function fileNameProblem(name: string): string | undefined {
  if (name === "") return "has no name; send a relative path such as shop/v1/shop.proto";
  if (name.length > fileNameCharsMax) {
    return `its name has ${name.length} characters, the limit is ${fileNameCharsMax}`;
  }
  const segments = name.split("/");
  const isPath = segments.every((segment) => segment !== "" && segment !== "." && segment !== "..");
  // oxlint-disable-next-line no-control-regex -- control characters are what this refuses
  if (!isPath || /[\u0000-\u001f\u007f\\]/.test(name)) {
    return `${quote(name)} is not a relative path such as shop/v1/shop.proto`;
  }
  return undefined;
}

/** Numbers that protobuf keeps to itself. */
export function isReservedNumber(number: number): boolean {
  return number >= 19_000 && number <= 19_999;
}

export function checkFieldNumber(number: number, element: string, report: Report): void {
  if (number < 1 || number > fieldNumberMax) {
    report(element, `number ${number} is not one of 1 to ${fieldNumberMax}`);
  } else if (isReservedNumber(number)) {
    report(element, `number ${number} is one of 19000 to 19999, which protobuf reserves`);
  }
}
