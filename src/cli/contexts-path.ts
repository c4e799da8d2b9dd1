import { homedir } from "node:os";
import { join } from "node:path";

/** Where they are kept: `$XDG_CONFIG_HOME/collector/contexts.yaml`, by default below `~/.config`. */
export function contextsPath(env: Readonly<Record<string, string | undefined>>): string {
  const folder = env["XDG_CONFIG_HOME"];
  const base = folder === undefined || folder === "" ? join(homedir(), ".config") : folder;
  return join(base, "collector", "contexts.yaml");
}
