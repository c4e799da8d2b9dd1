import { spawnSync } from "node:child_process";

/** Debian's, which has the modules; another Python in the PATH may not. */
export const python = "/usr/bin/python3";

const isMissing =
  spawnSync(python, ["-c", "import grpc, google.protobuf"]).status !== 0 ||
  spawnSync("protoc", ["--version"]).status !== 0;

/** Why tests with Python cannot run, if they cannot. */
export const pythonProblem: string | undefined = isMissing
  ? "grpcio for Python or protoc is missing; on Debian: python3-grpcio python3-protobuf protobuf-compiler"
  : undefined;

/** What to skip such tests with: on CI they fail instead. */
export const skipWithoutPython: string | false =
  pythonProblem !== undefined && process.env["CI"] === undefined ? pythonProblem : false;
