import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { fromBinary } from "@bufbuild/protobuf";
import { type FileDescriptorProto, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";

const buf = fileURLToPath(new URL("../../../node_modules/.bin/buf", import.meta.url));

/**
 * Compiles `.proto` texts with buf.
 *
 * @param files texts by file name
 * @returns descriptors of these files and of what they import, imports first
 */
export function compile(files: Readonly<Record<string, string>>): FileDescriptorProto[] {
  const folder = mkdtempSync(join(tmpdir(), "collector-protos-"));
  try {
    for (const [name, text] of Object.entries(files)) {
      const path = join(folder, name);
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, text);
    }
    const bytes = execFileSync(buf, ["build", folder, "--as-file-descriptor-set", "-o", "-"], {
      maxBuffer: 256 * 1024 * 1024,
      stdio: ["ignore", "pipe", "pipe"],
    });
    return fromBinary(FileDescriptorSetSchema, bytes).file;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The descriptor of a single file that imports nothing but well-known types. */
export function compileFile(name: string, text: string): FileDescriptorProto {
  const file = compile({ [name]: text }).find((candidate) => candidate.name === name);
  if (file === undefined) throw new Error(`buf gave no descriptor of ${name}`);
  return file;
}
