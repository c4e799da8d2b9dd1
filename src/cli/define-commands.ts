import type { Command } from "commander";
import type { CliEnvironment, CommandContext } from "./context.ts";

/** Adds a group's commands below `command`; `context` makes what an action needs. */
export type DefineCommands = (
  command: Command,
  context: (command: Command) => CommandContext,
  environment: CliEnvironment,
) => void;
