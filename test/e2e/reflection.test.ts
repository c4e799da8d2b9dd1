import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createFileRegistry, fromBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { type FileDescriptorProto, FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { Code, createClient, type Transport } from "@connectrpc/connect";
import { createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import {
  Health,
  HealthCheckResponse_ServingStatus as Status,
} from "../../src/gen/grpc/health/v1/health_pb.ts";
import {
  ServerReflection,
  type ServerReflectionRequestSchema,
  type ServerReflectionResponse,
} from "../../src/gen/grpc/reflection/v1/reflection_pb.ts";
import { ServerReflection as ServerReflectionV1alpha } from "../../src/gen/grpc/reflection/v1alpha/reflection_pb.ts";
import { files, openFixture } from "../support/http-fixture.ts";

type Question = MessageInitShape<typeof ServerReflectionRequestSchema>["messageRequest"];
type Answer = ServerReflectionResponse["messageResponse"];

/** Asks several questions on one stream. */
async function ask(
  transport: Transport,
  questions: readonly NonNullable<Question>[],
  namespace?: string,
  service: typeof ServerReflection | typeof ServerReflectionV1alpha = ServerReflection,
): Promise<Answer[]> {
  async function* requests(): AsyncIterable<{
    messageRequest: NonNullable<Question>;
    host: string;
  }> {
    for (const messageRequest of questions) yield { messageRequest, host: "h" };
  }
  const client = createClient(service as typeof ServerReflection, transport);
  const headers = namespace === undefined ? {} : { "x-collector-namespace": namespace };
  const answers: Answer[] = [];
  for await (const answer of client.serverReflectionInfo(requests(), { headers })) {
    assert.equal(answer.validHost, "h");
    assert.equal(answer.originalRequest?.host, "h");
    answers.push(answer.messageResponse);
  }
  assert.equal(answers.length, questions.length);
  return answers;
}

function filesIn(answer: Answer | undefined): FileDescriptorProto[] {
  assert.equal(answer?.case, "fileDescriptorResponse", JSON.stringify(answer?.value));
  return answer.value.fileDescriptorProto.map((bytes) =>
    fromBinary(FileDescriptorProtoSchema, bytes),
  );
}

function errorIn(answer: Answer | undefined): number {
  assert.equal(answer?.case, "errorResponse");
  return answer.value.errorCode;
}

const symbol = (value: string): NonNullable<Question> => ({ case: "fileContainingSymbol", value });

describe("Reflection", () => {
  for (const service of [ServerReflection, ServerReflectionV1alpha]) {
    it(`${service.typeName} lists services and gives files that link`, async () => {
      await using fixture = await openFixture();
      const transport = createGrpcTransport({ baseUrl: fixture.url });
      const [list, file] = await ask(
        transport,
        [{ case: "listServices", value: "" }, symbol("echo.v1.Echo")],
        undefined,
        service,
      );
      assert.equal(list?.case, "listServicesResponse");
      assert.deepEqual(
        list.value.service.map(({ name }) => name),
        [
          "echo.v1.Echo",
          "grpc.health.v1.Health",
          "grpc.reflection.v1.ServerReflection",
          "grpc.reflection.v1alpha.ServerReflection",
        ],
      );
      const protos = filesIn(file);
      assert.equal(protos[0]?.name, "echo/v1/echo.proto");
      const byName = new Map(protos.map((proto) => [proto.name, proto]));
      const first = protos[0];
      assert.ok(first);
      const linked = createFileRegistry(first, (name) => byName.get(name));
      assert.equal(linked.getService("echo.v1.Echo")?.methods.length, 7);
    });
  }

  it("finds a file by its name and by every kind of symbol", async () => {
    await using fixture = await openFixture();
    const transport = createGrpcTransport({ baseUrl: fixture.url });
    const symbols = [
      "echo.v1.Echo",
      "echo.v1.Echo.Unary",
      "echo.v1.EchoRequest",
      ".echo.v1.EchoRequest.text",
      "echo.v1.EchoRequest.choice",
      "grpc.health.v1.Health",
      "grpc.health.v1.Health.Check",
      "grpc.health.v1.HealthCheckResponse.ServingStatus",
      "grpc.health.v1.HealthCheckResponse.SERVING",
      "grpc.health.v1.HealthCheckRequest.service",
      "old.v1.nick",
      "google.protobuf.NullValue",
      "google.protobuf.NULL_VALUE",
      "google.protobuf.Any",
    ];
    for (const answer of await ask(transport, symbols.map(symbol))) filesIn(answer);
    const [file, missing] = await ask(transport, [
      { case: "fileByFilename", value: "google/protobuf/any.proto" },
      { case: "fileByFilename", value: "no/such.proto" },
    ]);
    assert.equal(filesIn(file)[0]?.name, "google/protobuf/any.proto");
    assert.equal(errorIn(missing), Code.NotFound);
  });

  it("sends no dependency twice on one stream", async () => {
    await using fixture = await openFixture();
    const transport = createGrpcTransport({ baseUrl: fixture.url });
    const [first, second] = await ask(transport, [symbol("echo.v1.Echo"), symbol("echo.v1.Ref")]);
    assert.equal(filesIn(first).length, 5);
    assert.deepEqual(
      filesIn(second).map(({ name }) => name),
      ["echo/v1/echo.proto"],
    );
  });

  it("shows the types of the namespace that the header names, as soon as they are registered", async () => {
    await using fixture = await openFixture();
    const transport = createGrpcTransport({ baseUrl: fixture.url });
    const question = [symbol("shop.v1.Product")];
    assert.equal(errorIn((await ask(transport, question))[0]), Code.NotFound);
    assert.equal(
      filesIn((await ask(transport, question, "shop"))[0])[0]?.name,
      "shop/v1/product.proto",
    );
    assert.equal(errorIn((await ask(transport, question, "new"))[0]), Code.NotFound);
    fixture.types.register("new", files);
    filesIn((await ask(transport, question, "new"))[0]);
  });

  it("finds the extensions of a message", async () => {
    await using fixture = await openFixture();
    const [file, numbers] = await ask(createGrpcTransport({ baseUrl: fixture.url }), [
      {
        case: "fileContainingExtension",
        value: { containingType: "old.v1.Extended", extensionNumber: 120 },
      },
      { case: "allExtensionNumbersOfType", value: "old.v1.Extended" },
    ]);
    assert.equal(filesIn(file)[0]?.name, "old/v1/old.proto");
    assert.equal(numbers?.case, "allExtensionNumbersResponse");
    assert.deepEqual(numbers.value.extensionNumber, [110, 120]);
  });

  it("answers what it does not know, and what makes no sense, without ending the stream", async () => {
    await using fixture = await openFixture();
    const transport = createGrpcTransport({ baseUrl: fixture.url });
    const [name, none, extension, numbers, unknown, good] = await ask(transport, [
      symbol("nope"),
      { case: undefined },
      {
        case: "fileContainingExtension",
        value: { containingType: "echo.v1.Ref", extensionNumber: 100 },
      },
      { case: "allExtensionNumbersOfType", value: "echo.v1.Ref" },
      { case: "allExtensionNumbersOfType", value: "no.Such" },
      symbol("echo.v1.Ref"),
    ]);
    assert.equal(errorIn(name), Code.NotFound);
    assert.equal(errorIn(none), Code.InvalidArgument);
    assert.equal(errorIn(extension), Code.NotFound);
    assert.equal(numbers?.case, "allExtensionNumbersResponse");
    assert.deepEqual(numbers.value.extensionNumber, []);
    assert.equal(errorIn(unknown), Code.NotFound);
    filesIn(good);
  });
});

describe("Health", () => {
  it("tells the state of the server, of a service and of all, over gRPC and gRPC-Web", async () => {
    await using fixture = await openFixture();
    for (const transport of [
      createGrpcTransport({ baseUrl: fixture.url }),
      createGrpcWebTransport({ baseUrl: fixture.url, httpVersion: "1.1" }),
    ]) {
      const client = createClient(Health, transport);
      assert.equal((await client.check({})).status, Status.SERVING);
      assert.equal((await client.check({ service: "echo.v1.Echo" })).status, Status.SERVING);
      await assert.rejects(client.check({ service: "no.Such" }), { code: Code.NotFound });
      const { statuses } = await client.list({});
      assert.equal(Object.keys(statuses).length, 5);
      assert.equal(statuses[""]?.status, Status.SERVING);
    }
    fixture.health.drain();
    const client = createClient(Health, createGrpcTransport({ baseUrl: fixture.url }));
    assert.equal((await client.check({})).status, Status.NOT_SERVING);
    assert.equal((await client.check({ service: "echo.v1.Echo" })).status, Status.NOT_SERVING);
  });

  it("lets a service that is not served be watched, and forgets a watcher who leaves", async () => {
    await using fixture = await openFixture();
    const client = createClient(Health, createGrpcTransport({ baseUrl: fixture.url }));
    const stop = new AbortController();
    const seen: Status[] = [];
    const watching = (async () => {
      for await (const { status } of client.watch(
        { service: "no.Such" },
        { signal: stop.signal },
      )) {
        seen.push(status);
        stop.abort();
      }
    })();
    await assert.rejects(watching, { code: Code.Canceled });
    assert.deepEqual(seen, [Status.SERVICE_UNKNOWN]);
    assert.equal((await client.check({})).status, Status.SERVING);
  });
});
