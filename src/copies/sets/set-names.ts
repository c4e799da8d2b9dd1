import { create } from "@bufbuild/protobuf";
import { CollectorError } from "../../errors.ts";
import { type NamespacedName, NamespacedNameSchema } from "../../gen/collector/common_pb.ts";
import type { ListedCollection } from "../listed-collection.ts";

/** The names under which the collections of a set are backed up: a restore needs each of its own. */
export class SetNames {
  /** By full name, the id of the collection that claimed it last. */
  readonly #ids = new Map<string, string>();
  /** By id, the name that the collection claimed last. Its namespace stays. */
  readonly #names = new Map<string, string>();

  /**
   * Notes that a collection is about to be backed up under the name that it has now.
   *
   * @throws {CollectorError} COLLECTION_REPLACED if another one has been under that name, which has lost it since
   */
  claim({ namespace, name, collectionId }: ListedCollection): void {
    const fullName = `${namespace}/${name}`;
    const other = this.#ids.get(fullName) ?? collectionId;
    if (other !== collectionId && this.#names.get(other) === name) {
      throw new CollectorError(
        "COLLECTION_REPLACED",
        `it has got the name ${fullName} of another collection of the set meanwhile; make the set again`,
        { subject: { namespace, collection: name } },
      );
    }
    this.#ids.set(fullName, collectionId);
    this.#names.set(collectionId, name);
  }

  /** The name that a collection has in the set: the one it was listed by if it claimed none. */
  of({ namespace, name, collectionId }: ListedCollection): NamespacedName {
    const claimed = this.#names.get(collectionId);
    return create(NamespacedNameSchema, { namespace, name: claimed ?? name });
  }
}
