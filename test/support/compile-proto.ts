import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { fromBinary } from "@bufbuild/protobuf";
import { type FileDescriptorSet, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";

const buf = join(import.meta.dirname, "../../node_modules/.bin/buf");

/** Compiles every `.proto` under `folder` with buf: files in the order that imports need. */
export function compileProto(folder: string): FileDescriptorSet {
  const image = execFileSync(buf, ["build", folder, "--as-file-descriptor-set", "-o", "-"], {
    maxBuffer: 64 * 1024 * 1024,
    stdio: ["ignore", "pipe", "inherit"],
  });
  return fromBinary(FileDescriptorSetSchema, image);
}
