import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { clone, create } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema, MethodDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { CollectorError } from "../errors.ts";
import { type ServiceEndpoint, ServiceEndpointSchema } from "../gen/collector/service_hosts_pb.ts";
import { asBefore, type HostingRequest, isIdempotent } from "./service-hosting.ts";
import { openRegistry } from "./testing/open-registry.ts";
import { common, register, registerService, shop } from "./testing/shop.ts";

describe("services", () => {
  it("are registered of a registered file, or of one that is sent along", async () => {
    const { registry, services } = await openRegistry();
    await register(registry, common);
    const request = {
      namespace: "default",
      file: shop,
      serviceName: "",
      fileName: "",
      serviceDescriptor: undefined,
      validateOnly: false,
    };
    const result = await registry.registerService(request);
    const registered = {
      serviceId: "default/shop.Shop",
      registeredMethods: ["Quote"],
      endpoints: [],
    };
    assert.deepEqual(result, registered);
    assert.deepEqual(
      await registry.registerService({
        ...request,
        file: undefined,
        serviceDescriptor: shop.service[0],
      }),
      result,
    );
    assert.deepEqual(services.ids, ["default/shop.Shop"]);
    const found = registry.lookupService("default", "Shop");
    assert.deepEqual(
      [found.serviceName, found.fileName, found.version, found.methodNames, found.builtIn],
      ["shop.Shop", "shop/shop.proto", 1n, ["Quote"], false],
    );
  });

  it("are refused when they are not there, not clear or not the same", async () => {
    const { registry } = await openRegistry();
    await register(registry, shop, [common]);
    const none = {
      namespace: "default",
      file: undefined,
      serviceName: "",
      fileName: "",
      serviceDescriptor: undefined,
      validateOnly: false,
    };
    await assert.rejects(registry.registerService(none), { reason: "ARGUMENT_MISSING" });
    await assert.rejects(registry.registerService({ ...none, serviceName: "Shp" }), {
      reason: "SERVICE_NOT_FOUND",
      message: /did you mean shop.Shop/,
    });
    await assert.rejects(registry.registerService({ ...none, fileName: "nope.proto" }), {
      reason: "FILE_NOT_FOUND",
    });
    const [service] = shop.service;
    assert.ok(service !== undefined);
    await assert.rejects(
      registry.registerService({ ...none, serviceDescriptor: { ...service, method: [] } }),
      { reason: "ARGUMENT_INVALID", message: /service_descriptor: differs from shop.Shop/ },
    );
  });

  it("follow the newest version of their file, on record too", async () => {
    const { registry, services } = await openRegistry();
    await register(registry, shop, [common]);
    await registerService(registry, "Shop");
    const grown = clone(FileDescriptorProtoSchema, shop);
    grown.service[0]?.method.push(
      create(MethodDescriptorProtoSchema, {
        name: "Other",
        inputType: ".shop.Request",
        outputType: ".shop.Request",
      }),
    );
    await register(registry, grown);
    assert.ok(registry.snapshot("default").method("shop.Shop", "Other"));
    const record = await services.get("default/shop.Shop");
    assert.deepEqual([record?.version, record?.methodNames], [2n, ["Quote", "Other"]]);
  });

  it("are unregistered without their file", async () => {
    const { registry, reopen } = await openRegistry();
    await register(registry, shop, [common]);
    await registerService(registry, "Shop");
    await registry.unregisterService("default", "Shop", true);
    assert.ok(registry.snapshot("default").method("shop.Shop", "Quote"));
    await registry.unregisterService("default", "Shop", false);
    for (const opened of [registry, await reopen()]) {
      assert.equal(opened.snapshot("default").method("shop.Shop", "Quote"), undefined);
    }
    await assert.rejects(registry.unregisterService("default", "CollectionService", false), {
      reason: "ARGUMENT_INVALID",
      message: /disabled_services/,
    });
  });

  it("can be asked about method by method", async () => {
    const { registry } = await openRegistry();
    await register(registry, shop, [common]);
    const check = (service: string, method: string) =>
      registry.validateMethod("default", service, method);
    assert.match(check("shop.Shop", "Quote").message, /there is no service "shop.Shop"/);
    await registerService(registry, "Shop");
    assert.deepEqual(check("shop.Shop", "Quote"), { isValid: true, message: "" });
    assert.deepEqual(check("Shop", "Quot"), {
      isValid: false,
      message: 'service shop.Shop has no method "Quot"; did you mean Quote?',
    });
    assert.equal(check("shop.Shop", "constructor").isValid, false);
  });

  it("are listed page by page, over all namespaces if none is named", async () => {
    const { registry } = await openRegistry();
    await register(registry, shop, [common]);
    await registerService(registry, "Shop");
    const seen: string[] = [];
    let pageToken = "";
    do {
      const page = registry.listServices("", { pageSize: 2, pageToken });
      seen.push(
        ...page.services.map(({ namespace, serviceName }) => `${namespace}/${serviceName}`),
      );
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    assert.equal(new Set(seen).size, seen.length);
    assert.ok(seen.includes("default/shop.Shop"));
    assert.ok(seen.includes("system/collector.CollectionService"));
    assert.ok(!seen.includes("system/shop.Shop"));
  });
});

describe("who runs a service", () => {
  const endpoint = (address: string, labels: Record<string, string> = {}): ServiceEndpoint =>
    create(ServiceEndpointSchema, { address, labels });
  const request = {
    namespace: "default",
    serviceName: "shop.Shop",
    fileName: "",
    file: undefined,
    serviceDescriptor: undefined,
    validateOnly: false,
  };
  const kept = (registry: Awaited<ReturnType<typeof openRegistry>>["registry"]): unknown => {
    const { endpoints, idempotentMethods } = registry.lookupService("default", "shop.Shop");
    return [endpoints.map(({ address, labels }) => [address, { ...labels }]), idempotentMethods];
  };

  it("is kept until it is replaced or cleared, and after a restart", async () => {
    const { registry, reopen } = await openRegistry();
    await register(registry, shop, [common]);
    const host = (hosting: Partial<HostingRequest>) =>
      registry.registerService({ ...request, hosting: { ...asBefore, ...hosting } });
    await host({ endpoints: [endpoint("a:1", { zone: "x" })], idempotentMethods: ["Quote"] });
    const first = [[["a:1", { zone: "x" }]], ["Quote"]];
    assert.deepEqual(kept(registry), first);
    await host({});
    await registerService(registry, "Shop");
    assert.deepEqual(kept(registry), first);
    assert.deepEqual(kept(await reopen()), first);
    await host({ endpoints: [endpoint("b:1"), endpoint("c:1")] });
    assert.deepEqual(kept(registry), [
      [
        ["b:1", {}],
        ["c:1", {}],
      ],
      ["Quote"],
    ]);
    await host({
      endpoints: [endpoint("d:1"), endpoint("c:1", { zone: "y" })],
      addEndpoints: true,
    });
    const addresses = () => registry.lookupService("default", "shop.Shop").endpoints;
    assert.deepEqual(
      addresses().map(({ address, labels }) => [address, { ...labels }]),
      [
        ["b:1", {}],
        ["d:1", {}],
        ["c:1", { zone: "y" }],
      ],
    );
    await host({
      endpoints: [endpoint("e:1")],
      addEndpoints: true,
      removeEndpoints: ["b:1", "c:1"],
    });
    assert.deepEqual(
      addresses().map(({ address }) => address),
      ["d:1", "e:1"],
    );
    await host({ clearEndpoints: true });
    assert.deepEqual(kept(await reopen()), [[], ["Quote"]]);
    const method = registry.snapshot("default").method("shop.Shop", "Quote");
    const registered = registry.registeredServices("default");
    assert.deepEqual([...registered.keys()], ["shop.Shop"]);
    assert.ok(method !== undefined && !isIdempotent(method, undefined));
    assert.ok(isIdempotent(method, registered.get("shop.Shop")?.record));
  });

  it("has all that many callers add and remove at once, and no more than the limit", async () => {
    const { registry } = await openRegistry();
    await register(registry, shop, [common]);
    const host = (hosting: Partial<HostingRequest>) =>
      registry.registerService({ ...request, hosting: { ...asBefore, ...hosting } });
    const numbers = Array.from({ length: 60 }, (_, index) => index + 1);
    const add = (number: number) =>
      host({ endpoints: [endpoint(`a:${number}`)], addEndpoints: true });
    const results = await Promise.all(numbers.map(add));
    const last = results.map(({ endpoints }) => endpoints.length);
    assert.deepEqual(last, numbers);
    await assert.rejects(
      host({ endpoints: [61, 62, 63, 64, 65].map((n) => endpoint(`a:${n}`)), addEndpoints: true }),
      { reason: "ARGUMENT_INVALID", message: /endpoints: are 65, the limit is 64/ },
    );
    await Promise.all([
      ...numbers.slice(0, 30).map((number) => host({ removeEndpoints: [`a:${number}`] })),
      ...[61, 62].map(add),
    ]);
    assert.deepEqual(
      registry.lookupService("default", "shop.Shop").endpoints.map(({ address }) => address),
      [...numbers.slice(30), 61, 62].map((number) => `a:${number}`),
    );
  });

  it("is kept when the file has a new version", async () => {
    const { registry } = await openRegistry();
    await register(registry, shop, [common]);
    const hosting = { ...asBefore, endpoints: [endpoint("a:1")], idempotentMethods: ["Quote"] };
    await registry.registerService({ ...request, hosting });
    const changed = clone(FileDescriptorProtoSchema, shop);
    const quote = changed.service[0]?.method[0];
    assert.ok(quote);
    changed.service[0]?.method.push({ ...quote, name: "Buy" });
    await register(registry, changed);
    assert.equal(registry.lookupService("default", "shop.Shop").version, 2n);
    assert.deepEqual(kept(registry), [[["a:1", {}]], ["Quote"]]);
  });

  it("is refused when it is malformed, and then nothing is registered", async () => {
    const { registry, services } = await openRegistry({
      checkEndpoint: (address, field) => {
        if (address !== "evil:1") return;
        throw new CollectorError("PEER_DENIED", `${field}: may not be dialled`);
      },
    });
    await register(registry, shop, [common]);
    const refusals: readonly [Partial<HostingRequest>, string, RegExp][] = [
      [{ endpoints: [endpoint("")] }, "ARGUMENT_MISSING", /^endpoints\[0\]\.address/],
      [{ endpoints: [endpoint("a:1"), endpoint("a:1")] }, "ARGUMENT_INVALID", /\[1\].*twice/],
      [{ endpoints: [endpoint("evil:1")] }, "PEER_DENIED", /^endpoints\[0\]\.address/],
      [
        { endpoints: Array.from({ length: 65 }, (_, i) => endpoint(`a:${i + 1}`)) },
        "ARGUMENT_INVALID",
        /are 65, the limit is 64/,
      ],
      [{ endpoints: [endpoint("a:1", { "": "x" })] }, "LABEL_INVALID", /^endpoints\[0\]\.labels/],
      [{ endpoints: [endpoint("a:1")], clearEndpoints: true }, "ARGUMENT_INVALID", /clear_end/],
      [{ removeEndpoints: ["a:1"] }, "ARGUMENT_INVALID", /^remove_endpoints\[0\].*it has none/],
      [
        { removeEndpoints: ["a:1"], clearEndpoints: true },
        "ARGUMENT_INVALID",
        /^remove_endpoints: does not go/,
      ],
      [
        { removeEndpoints: ["a:1"], endpoints: [endpoint("b:1")] },
        "ARGUMENT_INVALID",
        /^remove_endpoints: does not go/,
      ],
      [{ idempotentMethods: ["Quot"] }, "ARGUMENT_INVALID", /methods\[0\].*did you mean Quote/],
    ];
    for (const [hosting, reason, message] of refusals) {
      await assert.rejects(
        registry.registerService({ ...request, hosting: { ...asBefore, ...hosting } }),
        { reason, message },
      );
    }
    await assert.rejects(
      registry.registerService({
        ...request,
        serviceName: "collector.CollectionService",
        hosting: { ...asBefore, endpoints: [endpoint("a:1")] },
      }),
      { reason: "ARGUMENT_INVALID", message: /endpoints: .* is built in/ },
    );
    assert.deepEqual(services.ids, []);
  });
});
