/** A collection as requests name it. */
export interface CollectionName {
  readonly namespace: string;
  readonly name: string;
}

/**
 * Reads `name` or `namespace/name`. Whether there may be such a collection is the server's to say.
 *
 * @param namespace for a name that comes without one; empty leaves it to the server
 */
export function collectionNameOf(text: string, namespace: string): CollectionName {
  const at = text.indexOf("/");
  if (at < 0) return { namespace, name: text };
  return { namespace: text.slice(0, at), name: text.slice(at + 1) };
}
