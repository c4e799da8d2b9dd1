import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  create,
  createRegistry,
  type DescMessage,
  type FileRegistry,
  fromJson,
  type JsonValue,
  type Registry,
  toBinary,
} from "@bufbuild/protobuf";
import { type Any, AnySchema, anyPack } from "@bufbuild/protobuf/wkt";
import { CollectorError } from "../../errors.ts";
import { CollectionSchema } from "../../gen/collector/collection_pb.ts";
import { OperationSchema } from "../../gen/collector/operations_pb.ts";
import { StatusSchema } from "../../gen/google/rpc/status_pb.ts";
import { type Clock, systemClock } from "../../lib/clock.ts";
import { defaultLimits, type Limits } from "../../lib/limits.ts";
import { OperationStore } from "../../operations/operation-store.ts";
import { SqliteEngine } from "../../storage/sqlite/sqlite-engine.ts";
import { CollectionCatalog } from "../catalog.ts";
import type { RecordCollection } from "../record-collection.ts";
import { openSystemRecords } from "../system-collections.ts";
import { compileProtos, kindsProto, legacyProto } from "./compile.ts";
import { GivenTypes } from "./types.ts";

export const shopProto = `
  syntax = "proto3";
  package shop.v1;
  import "google/protobuf/timestamp.proto";

  message Product {
    string sku = 1;
    string title = 2;
    int64 price_cents = 3;
    repeated string tags = 4;
    Size size = 5;
    map<string, string> attributes = 6;
    google.protobuf.Timestamp created = 7;
    int32 stock = 8;
  }
  message Size { double width = 1; double height = 2; string unit = 3; }
  message Review { string text = 1; int32 stars = 2; }
`;

export const testTypes: FileRegistry = compileProtos({
  "shop.proto": shopProto,
  "kinds.proto": kindsProto,
  "legacy.proto": legacyProto,
});

export const systemCollections: Readonly<Record<string, DescMessage>> = {
  collections: CollectionSchema,
  operations: OperationSchema,
};

/** A catalog on an engine of its own, in a temporary folder that goes with it. */
export class CatalogFixture implements AsyncDisposable {
  readonly folder: string;
  readonly types: GivenTypes = new GivenTypes();
  readonly limits: Limits;
  readonly clock: Clock;
  engine!: SqliteEngine;
  operations!: OperationStore;
  catalog!: CollectionCatalog;

  private constructor(folder: string, limits: Limits, clock: Clock) {
    this.folder = folder;
    this.limits = limits;
    this.clock = clock;
  }

  static async open(
    limits: Partial<Limits> = {},
    clock: Clock = systemClock,
  ): Promise<CatalogFixture> {
    const folder = await mkdtemp(join(tmpdir(), "collector-catalog-"));
    const fixture = new CatalogFixture(folder, { ...defaultLimits, ...limits }, clock);
    fixture.types.set("default", testTypes);
    fixture.types.set("other", testTypes);
    fixture.types.set("system", createRegistry(...Object.values(systemCollections)));
    await fixture.start();
    return fixture;
  }

  /** Opens everything, as a start of the server does. */
  async start(): Promise<void> {
    const { folder, limits, types, clock } = this;
    this.engine = await SqliteEngine.open({ dataFolder: folder, limits, clock });
    this.operations = await OperationStore.open({
      records: await openSystemRecords(this.engine, OperationSchema, "operations", limits),
      limits,
      toStatus: (error) =>
        create(StatusSchema, {
          code: 2,
          message: error instanceof CollectorError ? error.reason : String(error),
        }),
    });
    this.catalog = await CollectionCatalog.open({
      engine: this.engine,
      definitions: await openSystemRecords(this.engine, CollectionSchema, "collections", limits),
      systemCollections,
      types,
      operations: this.operations,
      limits,
      clock,
      endpoint: () => "http://127.0.0.1:50051",
    });
    await this.operations.resume(this.catalog.alterations.resumers);
  }

  async stop(): Promise<void> {
    await this.operations.close();
    await this.engine.close();
  }

  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  /** A new collection of `type`. */
  async collection(
    name: string,
    type = "shop.v1.Product",
    options: { readonly namespace?: string; readonly indexedFields?: string[] } = {},
  ): Promise<RecordCollection> {
    const { namespace = "default", indexedFields = [] } = options;
    await this.catalog.create(
      create(CollectionSchema, {
        namespace,
        name,
        messageType: { namespace, messageName: type },
        indexedFields,
      }),
    );
    return this.catalog.open(namespace, name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** An Any of a type of the tests, from its JSON. */
export function anyOfJson(typeName: string, json: JsonValue, types: Registry = testTypes): Any {
  const desc = types.getMessage(typeName);
  if (desc === undefined) throw new Error(`no type ${typeName}`);
  return anyPack(desc, fromJson(desc, json, { registry: types }));
}

export function anyOfBytes(typeName: string, value: Uint8Array): Any {
  return create(AnySchema, { typeUrl: `type.googleapis.com/${typeName}`, value });
}

export function product(json: JsonValue): Any {
  return anyOfJson("shop.v1.Product", json);
}

export function productBytes(json: JsonValue): Uint8Array {
  const desc = testTypes.getMessage("shop.v1.Product");
  if (desc === undefined) throw new Error("no product");
  return toBinary(desc, fromJson(desc, json));
}
