import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { create } from "@bufbuild/protobuf";
import { CollectorError, type ErrorReason } from "../errors.ts";
import { CollectionSchema } from "../gen/collector/collection_pb.ts";
import {
  type BackupMetadata,
  BackupMetadataSchema,
  Compression,
} from "../gen/collector/collection_repo_pb.ts";
import type { CreateBackup } from "./backup-parts.ts";
import { backUpListed } from "./listed-collection.ts";
import { calmRun } from "./testing/installer-fixture.ts";

const listed = { namespace: "shop", name: "products", collectionId: "id1" };
const request = {
  destPath: "",
  includeFiles: true,
  metadata: {},
  baseBackupId: "",
  incremental: false,
  compression: Compression.NONE,
};

/** Collections by name, and what happens to them just before a backup is made. */
class Bench {
  readonly names: Map<string, string>;
  readonly asked: string[] = [];
  onCreate: () => void = () => undefined;

  constructor(names: Record<string, string>) {
    this.names = new Map(Object.entries(names));
  }

  backUp(): Promise<BackupMetadata | undefined> {
    const { names } = this;
    const definitions = () =>
      Array.from(names, ([name, collectionId]) =>
        create(CollectionSchema, { namespace: "shop", name, collectionId }),
      );
    const catalog = {
      definitionsIn: definitions,
      find: (_: string, name: string) => definitions().find((one) => one.name === name),
    };
    const createBackup = async (asked: CreateBackup): Promise<BackupMetadata> => {
      const { namespace, name, collectionId = "" } = asked;
      this.asked.push(name);
      this.onCreate();
      const found = names.get(name);
      if (found === undefined) throw refused("COLLECTION_NOT_FOUND");
      if (found !== collectionId) throw refused("COLLECTION_REPLACED");
      return create(BackupMetadataSchema, { collection: { namespace, name }, collectionId });
    };
    return backUpListed({ backups: { create: createBackup }, catalog }, listed, request, calmRun);
  }
}

function refused(reason: ErrorReason): CollectorError {
  return new CollectorError(reason, "it is refused");
}

describe("backUpListed", () => {
  it("follows a collection to another name, also if the name has another one by then", async () => {
    for (const before of [{ goods: "id1" }, { goods: "id1", products: "id2" }]) {
      const bench = new Bench(before);
      const backup = await bench.backUp();
      assert.deepEqual([backup?.collection?.name, backup?.collectionId], ["goods", "id1"]);
      assert.deepEqual(bench.asked, ["goods"]);
    }
  });

  it("looks again if it is renamed just before its turn", async () => {
    const bench = new Bench({ products: "id1", orders: "id2" });
    bench.onCreate = () => {
      bench.names.set("products", "id2");
      bench.names.set("orders", "id1");
    };
    assert.equal((await bench.backUp())?.collection?.name, "orders");
    assert.deepEqual(bench.asked, ["products", "orders"]);
  });

  it("answers none for what is deleted, and only for that", async () => {
    const bench = new Bench({ products: "id1" });
    bench.onCreate = () => bench.names.delete("products");
    assert.equal(await bench.backUp(), undefined);
    assert.equal(await new Bench({ products: "id2" }).backUp(), undefined);
    const failing = new Bench({ products: "id1" });
    for (const reason of ["COLLECTION_NOT_FOUND", "COLLECTION_REPLACED", "DISK_FULL"] as const) {
      failing.onCreate = () => {
        throw refused(reason);
      };
      await assert.rejects(failing.backUp(), { reason });
    }
  });
});
