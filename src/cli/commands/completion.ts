import { scripts, shells } from "../completion/scripts.ts";
import type { DefineCommands } from "../define-commands.ts";
import { usageError } from "../failure.ts";

/** `collector completion SHELL` */
export const define: DefineCommands = (command, context) => {
  command
    .argument("<shell>", shells.join(", "))
    .addHelpText(
      "after",
      `
Collections, types, methods and fields are completed too, with the names that the server has.

  bash  add to ~/.bashrc:                    source <(collector completion bash)
  zsh   add to ~/.zshrc, after compinit:     source <(collector completion zsh)
  fish  run once:  collector completion fish > ~/.config/fish/completions/collector.fish`,
    )
    .action((shell: string) => {
      const wanted = shells.find((known) => known === shell);
      if (wanted === undefined) throw usageError(`name a shell: ${shells.join(", ")}`);
      context(command).output.line(scripts[wanted].trimEnd());
    });
};
