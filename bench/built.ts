import { execFileSync } from "node:child_process";
import { join } from "node:path";

const root = join(import.meta.dirname, "..");

/** The command as its sources are run. */
export const commandOfSources: string = join(root, "src/cli/main.ts");

/**
 * Makes what the package holds. Its processes are smaller than those that read the sources: none of them has to have
 * what takes the types out.
 *
 * @returns its command
 */
export function buildCommand(): string {
  execFileSync("npm", ["run", "build"], { cwd: root, stdio: "ignore" });
  return join(root, "dist/cli/main.js");
}
