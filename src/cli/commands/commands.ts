import type { Command } from "commander";
import type { DefineCommands } from "../define-commands.ts";

/** A command, for programs that want to know what there is. */
interface CommandEntry {
  readonly name: string;
  readonly usage: string;
  readonly description: string;
  readonly options: readonly { readonly flags: string; readonly description: string }[];
}

/** `collector commands`: all there is, with -o json for programs. */
export const define: DefineCommands = (command, context) => {
  command.action(() => {
    const { output } = context(command);
    const entries = entriesOf(rootOf(command));
    output.list(
      entries,
      [
        { header: "NAME", text: ({ name, usage }) => `${name} ${usage}`.trim(), whole: true },
        { header: "DOES", text: ({ description }) => description, whole: true },
      ],
      ({ name, usage, description, options }) => ({
        name,
        usage,
        description,
        options: options.map((option) => ({ ...option })),
      }),
    );
  });
};

function rootOf(command: Command): Command {
  return command.parent === null ? command : rootOf(command.parent);
}

function entriesOf(command: Command, path: readonly string[] = []): readonly CommandEntry[] {
  const { commands } = command;
  if (commands.length > 0) {
    return commands.flatMap((child) => entriesOf(child, [...path, child.name()]));
  }
  const usage = command.registeredArguments
    .map((argument) => {
      const name = `${argument.name()}${argument.variadic ? "..." : ""}`;
      return argument.required ? `<${name}>` : `[${name}]`;
    })
    .join(" ");
  const options = command.options.map(({ flags, description }) => ({ flags, description }));
  return [{ name: path.join(" "), usage, description: command.description(), options }];
}
