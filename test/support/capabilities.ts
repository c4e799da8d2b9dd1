import { spawnSync } from "node:child_process";
import { mkdtempSync, rmdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import type { Shell } from "../../src/cli/completion/scripts.ts";

/** What some tests need of the machine. */
export type Capability = "tmpfs" | "loop-mount" | "strace" | "age" | Shell;

/** How to find out; each must end with code 0 and leave nothing behind. */
const probes: Readonly<Record<Capability, (folder: string) => readonly string[]>> = {
  tmpfs: (folder) => [
    "sh",
    "-ec",
    `mount -t tmpfs -o size=1m tmpfs '${folder}'; umount '${folder}'`,
  ],
  "loop-mount": (folder) => [
    "sh",
    "-ec",
    `i='${folder}.img'; trap 'rm -f "$i"' EXIT; truncate -s 16M "$i"; mkfs.ext4 -q "$i"; ` +
      `mount -o loop "$i" '${folder}'; umount '${folder}'; python3 -c 'import fcntl'`,
  ],
  strace: () => ["strace", "-f", "-e", "inject=fsync:error=EIO", "-o", "/dev/null", "true"],
  age: () => ["age", "--version"],
  bash: () => ["bash", "--version"],
  zsh: () => ["zsh", "--version"],
  fish: () => ["fish", "--version"],
};

/**
 * Asks whether this machine can do what a test needs.
 *
 * Where it cannot, the test is skipped with the reason; under CI it fails, so that no promise goes
 * unproven unnoticed, unless the environment variable `COLLECTOR_TEST_WITHOUT` names the capability
 * (several with commas): then it is skipped as an exception that someone has decided.
 *
 * @returns false if the test has to end here.
 */
export function machineCan(capability: Capability, context: TestContext): boolean {
  const folder = mkdtempSync(join(tmpdir(), "collector-probe-"));
  const [command = "", ...args] = probes[capability](folder);
  const probe = spawnSync(command, args, { encoding: "utf8" });
  rmdirSync(folder);
  if (probe.status === 0) return true;
  const why = `this machine has no ${capability}: ${probe.error?.message ?? probe.stderr.trim()}`;
  const exceptions = process.env["COLLECTOR_TEST_WITHOUT"]?.split(",") ?? [];
  if (process.env["CI"] !== undefined && !exceptions.includes(capability)) {
    throw new Error(`${why}. Name it in COLLECTOR_TEST_WITHOUT if that is intended.`);
  }
  context.skip(why);
  return false;
}
