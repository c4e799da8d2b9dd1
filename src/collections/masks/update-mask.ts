import type { DescField, DescMessage } from "@bufbuild/protobuf";
import { resolvePath } from "../field-paths.ts";

/** What a mask says of one message: which of its fields, and which parts of them. */
export interface MaskNode {
  readonly fields: Map<number, MaskedField>;
}

export interface MaskedField {
  readonly field: DescField;
  /** The whole field; nothing below counts then. */
  whole: boolean;
  /** Of a message: what in it. */
  inside: MaskNode | undefined;
  /** Of a map: which keys; a key's node is undefined for its whole value. */
  readonly keys: Map<string, MaskNode | undefined>;
}

/**
 * Reads an update mask. No paths, or the single path `*`, replace the whole message: undefined.
 *
 * @throws {CollectorError} FIELD_UNKNOWN
 */
export function compileMask(
  desc: DescMessage,
  paths: readonly string[],
  argument = "update_mask",
): MaskNode | undefined {
  if (paths.length === 0 || paths.includes("*")) return undefined;
  const root = newNode();
  for (const path of paths) addPath(root, desc, path, argument);
  return root;
}

function addPath(root: MaskNode, desc: DescMessage, path: string, argument: string): void {
  const steps = resolvePath(desc, path, argument);
  let node = root;
  for (const [index, { field, key }] of steps.entries()) {
    const isLast = index === steps.length - 1;
    const masked = maskedField(node, field);
    if (masked.whole) return;
    if (isLast && key === undefined) {
      masked.whole = true;
      return;
    }
    const below = key === undefined ? (masked.inside ??= newNode()) : keyNode(masked, key, isLast);
    if (below === undefined) return;
    node = below;
  }
}

function maskedField(node: MaskNode, field: DescField): MaskedField {
  const known = node.fields.get(field.number);
  if (known !== undefined) return known;
  const masked = { field, whole: false, inside: undefined, keys: new Map() };
  node.fields.set(field.number, masked);
  return masked;
}

/** What is masked of the value under a key; undefined if all of it is. */
function keyNode({ keys }: MaskedField, key: string, whole: boolean): MaskNode | undefined {
  const known = keys.get(key);
  if (keys.has(key) && known === undefined) return undefined;
  const node = whole ? undefined : (known ?? newNode());
  keys.set(key, node);
  return node;
}

function newNode(): MaskNode {
  return { fields: new Map() };
}
