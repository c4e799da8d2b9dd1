import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { create, type DescMethod, type Message } from "@bufbuild/protobuf";
import {
  CloneRequestSchema,
  CollectionRepo,
  CreateCollectionRequestSchema,
  DiscoverRequestSchema,
  RouteRequestSchema,
} from "../../gen/collector/collection_repo_pb.ts";
import {
  CollectionService,
  GetRequestSchema,
  MetaRequestSchema,
} from "../../gen/collector/collection_server_pb.ts";
import type { Call } from "../call.ts";
import { resolveNamespace } from "./namespace.ts";

/** Runs the interceptor alone; answers the call's namespace, with the request changed in place. */
async function settle(method: DescMethod, request: Message, header?: string): Promise<string> {
  const call = {
    namespace: "",
    requestMetadata: {
      get: (name: string) => (name === "x-collector-namespace" ? header : undefined),
      getBinary: () => undefined,
      entries: () => [],
    },
  } as unknown as Call;
  const invoke = resolveNamespace(method, "default")((input) => Promise.resolve(input));
  // As the outermost interceptor does: what is thrown becomes a rejection.
  await (async () => invoke(request, call))();
  return call.namespace;
}

const { get, meta } = CollectionService.method;
const { route, discover, createCollection, clone } = CollectionRepo.method;

describe("resolveNamespace", () => {
  it("takes the request's field, else the header, else the default, and fills the field", async () => {
    const cases = [
      ["shop", undefined, "shop"],
      ["shop", "shop", "shop"],
      ["", "shop", "shop"],
      ["", undefined, "default"],
    ] as const;
    for (const [field, header, expected] of cases) {
      const request = create(GetRequestSchema, { namespace: field });
      assert.equal(await settle(get, request, header), expected);
      assert.equal(request.namespace, expected);
    }
  });

  it("refuses a header that disagrees with the field", async () => {
    const request = create(GetRequestSchema, { namespace: "a" });
    await assert.rejects(settle(get, request, "b"), {
      reason: "NAMESPACE_MISMATCH",
      violations: [{ field: "namespace" }].map((v) => ({
        ...v,
        description: "is `a` but x-collector-namespace says `b`; leave one of them out",
      })),
    });
  });

  it("refuses names that no namespace can have, by field or header", async () => {
    for (const bad of ["a/b", "../x", ".a", "é", "x".repeat(129), "a b", "a\0"]) {
      const request = create(GetRequestSchema, { namespace: bad });
      await assert.rejects(settle(get, request), { reason: "NAME_INVALID" });
      await assert.rejects(settle(get, create(GetRequestSchema), bad), { reason: "NAME_INVALID" });
    }
  });

  it("uses the header for a method whose request has no field", async () => {
    assert.equal(await settle(meta, create(MetaRequestSchema), "shop"), "shop");
    assert.equal(await settle(meta, create(MetaRequestSchema)), "default");
  });

  it("finds the namespace in a reference and lets nested references inherit it", async () => {
    const routed = create(RouteRequestSchema, { collection: { name: "c" } });
    assert.equal(await settle(route, routed, "shop"), "shop");
    assert.equal(routed.collection?.namespace, "shop");

    const created = create(CreateCollectionRequestSchema, {
      collection: { namespace: "shop", messageType: { messageName: "T" } },
    });
    await settle(createCollection, created);
    assert.equal(created.collection?.messageType?.namespace, "shop");
  });

  it("refuses a nested reference to another namespace, unless the call is about two", async () => {
    const created = create(CreateCollectionRequestSchema, {
      collection: { namespace: "a", messageType: { namespace: "b", messageName: "T" } },
    });
    await assert.rejects(settle(createCollection, created), {
      reason: "NAMESPACE_MISMATCH",
      message: /collection\.message_type\.namespace/,
    });
    const cloned = create(CloneRequestSchema, {
      sourceCollection: { namespace: "a", name: "c" },
      destNamespace: "b",
    });
    assert.equal(await settle(clone, cloned), "a");
    assert.equal(cloned.destNamespace, "b");
  });

  it("leaves an empty namespace empty where it means all", async () => {
    const request = create(DiscoverRequestSchema);
    assert.equal(await settle(discover, request), "default");
    assert.equal(request.namespace, "");
  });
});
