import type { DescMessage, Message } from "@bufbuild/protobuf";
import { type ReflectMessage, reflect } from "@bufbuild/protobuf/reflect";
import { FeatureSet_FieldPresence } from "@bufbuild/protobuf/wkt";

/**
 * Finds a required field that is not set, without which a message has no wire form.
 *
 * @returns its path, as in `options.uninterpreted_option[0].name[0].is_extension`
 */
export function unsetRequiredField(desc: DescMessage, message: Message): string | undefined {
  return findIn(reflect(desc, message, false), "");
}

function findIn(message: ReflectMessage, prefix: string): string | undefined {
  for (const field of message.fields) {
    const path = `${prefix}${field.name}`;
    if (!message.isSet(field)) {
      if (field.presence === FeatureSet_FieldPresence.LEGACY_REQUIRED) return path;
    } else if (field.fieldKind === "message") {
      const found = findIn(message.get(field), `${path}.`);
      if (found !== undefined) return found;
    } else if (field.fieldKind === "list" && field.listKind === "message") {
      for (const [index, item] of [...message.get(field)].entries()) {
        const found = findIn(item as ReflectMessage, `${path}[${index}].`);
        if (found !== undefined) return found;
      }
    }
  }
  return undefined;
}
