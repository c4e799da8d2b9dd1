/** The JSON name that a field has unless its options say otherwise: `price_cents` is `priceCents`. */
export function jsonNameOf(fieldName: string): string {
  let name = "";
  let raise = false;
  for (const char of fieldName) {
    if (char === "_") {
      raise = true;
      continue;
    }
    name += raise ? asciiUpper(char) : char;
    raise = false;
  }
  return name;
}

/** The name of the message that holds an entry of a map field: `by_name` is of `ByNameEntry`. */
export function mapEntryNameOf(fieldName: string): string {
  let name = "";
  let raise = true;
  for (const char of fieldName) {
    if (char === "_") {
      raise = true;
      continue;
    }
    name += raise ? asciiUpper(char) : char;
    raise = false;
  }
  return `${name}Entry`;
}

/** The full name of something called `name` in `scope`, which is empty at the top of a file without package. */
export function inScope(scope: string, name: string): string {
  return scope === "" ? name : `${scope}.${name}`;
}

function asciiUpper(char: string): string {
  return char >= "a" && char <= "z" ? char.toUpperCase() : char;
}
