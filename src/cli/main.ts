#!/usr/bin/env node
import * as nodeModule from "node:module";
import { exitCodes } from "./exit-codes.ts";

const nodeMajorMin = 24;

// Nothing before this may be newer than the oldest Node that somebody may have.
if (Number(process.versions.node.split(".")[0]) < nodeMajorMin) {
  process.stderr.write(
    `collector needs Node ${nodeMajorMin} or later; this is Node ${process.versions.node}\n`,
  );
  process.exit(exitCodes.failed);
}

// The second start and all after it compile nothing.
nodeModule.enableCompileCache();

const interrupt = new AbortController();

for (const name of ["SIGINT", "SIGTERM"] as const) {
  process.once(name, () => {
    interrupt.abort();
    // Whoever asks twice does not want to wait.
    process.once(name, () => process.exit(exitCodes.interrupted));
  });
}

let needsWholeOutput = false;

// A reader that has seen enough, as in `collector record list | head`, is no failure. Half an archive is.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  if (!needsWholeOutput) process.exit(exitCodes.ok);
});

const { runCli } = await import("./cli.ts");
process.exitCode = await runCli({
  argv: process.argv.slice(2),
  env: process.env,
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  signal: interrupt.signal,
  needWholeOutput: () => {
    needsWholeOutput = true;
  },
});
