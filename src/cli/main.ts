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

// A terminal that is closed may send it again, and its shell once more.
process.on("SIGHUP", () => interrupt.abort());

// Nobody can be told that nobody can be told.
process.stderr.on("error", () => undefined);

const [{ runCli }, { Stdout }] = await Promise.all([import("./cli.ts"), import("./stdout.ts")]);

const stdout = new Stdout({
  onEnough: () => process.exit(exitCodes.ok),
  onFailure: (failure) => interrupt.abort(failure),
});

const exitCode = await runCli({
  argv: process.argv.slice(2),
  env: process.env,
  stdin: process.stdin,
  stdout: stdout.stream,
  stderr: process.stderr,
  signal: interrupt.signal,
  needWholeOutput: () => stdout.needAll(),
  outputWritten: () => stdout.settle(),
});

process.exitCode = exitCode;

// What a command was to read and does not any more would keep the process.
process.stdin.destroy();

// What somebody was to read who does not would keep the process.
if (interrupt.signal.aborted && stdout.stream.writableLength > 0) {
  process.stderr.write("", () => process.exit(exitCode));
}
