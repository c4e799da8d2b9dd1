import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { lowerPriority, type Patience } from "./priority.ts";

export interface BackgroundOptions {
  readonly patience: Patience;
  /** Arguments of Node itself. */
  readonly execArgv?: readonly string[];
}

/**
 * Starts a process that works for this one and gives way to it. Messages to it are structured clones.
 *
 * It is in the session of this one: Linux weighs sessions against each other before it looks at priorities, and
 * one that copies would make calls wait in a session of its own.
 *
 * @param module of which the first act is {@link becomeBackground}.
 */
export function startBackground(
  module: URL,
  { patience, execArgv = [] }: BackgroundOptions,
): ChildProcess {
  const { NODE_OPTIONS: _, ...env } = process.env;
  const child = fork(fileURLToPath(module), {
    execArgv: [...execArgv],
    env,
    serialization: "advanced",
    stdio: ["ignore", "ignore", "ignore", "ipc"],
  });
  // From here, since a process takes all of a core until it has loaded what it works with.
  if (child.pid !== undefined) lowerPriority(patience, child.pid);
  return child;
}

/** Lets a process end with the one that started it, and not before, whatever a terminal tells both. */
export function becomeBackground(): void {
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(name, () => undefined);
  process.on("disconnect", () => process.kill(process.pid, "SIGKILL"));
}
