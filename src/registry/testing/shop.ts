import type { FileDescriptorProto } from "@bufbuild/protobuf/wkt";
import type { Registry } from "../registry.ts";
import type { RegisterFileResult, RegisterServiceResult } from "../requests.ts";
import { compile } from "./compile.ts";

/** The first page, of the default size. */
export const firstPage = { pageSize: 0, pageToken: "" };

export function register(
  registry: Registry,
  file: FileDescriptorProto,
  dependencies: readonly FileDescriptorProto[] = [],
  options: { readonly namespace?: string; readonly validateOnly?: boolean } = {},
): Promise<RegisterFileResult> {
  const { namespace = "default", validateOnly = false } = options;
  return registry.registerFile({ namespace, file, dependencies, validateOnly });
}

/** Registers a service of a registered file by its name. */
export function registerService(
  registry: Registry,
  serviceName: string,
): Promise<RegisterServiceResult> {
  return registry.registerService({
    namespace: "default",
    serviceName,
    fileName: "",
    file: undefined,
    serviceDescriptor: undefined,
    validateOnly: false,
  });
}

const files = compile({
  "shop/common.proto": 'syntax = "proto3"; package shop; message Money { int64 units = 1; }',
  "shop/shop.proto": `syntax = "proto3"; package shop; import "shop/common.proto";
    // A thing to sell.
    message Product {
      string title = 1;
      Money price = 2;
      enum State { STATE_UNSPECIFIED = 0; SOLD = 1; }
      State state = 3;
      map<string, Money> prices = 4;
      // Unused elsewhere.
      message Note { string text = 1; }
    }
    message Unused { int32 a = 1; }
    // Comes last.
    message Request { string title = 1; }
    service Shop { rpc Quote(Request) returns (Product); }`,
});

function find(name: string): FileDescriptorProto {
  const file = files.find((candidate) => candidate.name === name);
  if (file === undefined) throw new Error(`buf gave no descriptor of ${name}`);
  return file;
}

/** A file with messages, an enum, a map, comments and a service; it imports {@link common}. */
export const shop: FileDescriptorProto = find("shop/shop.proto");
export const common: FileDescriptorProto = find("shop/common.proto");
