import type { DefineCommands } from "../define-commands.ts";

/** `collector tour`: the main job on real data, in a folder that is gone afterwards. */
export const define: DefineCommands = (command, context, environment) => {
  command
    .description("see it work on real data, in a temporary folder that is removed again")
    .action(async () => {
      const { output } = context(command);
      const { runTour } = await import("../tour.ts");
      await runTour({ output, signal: environment.signal });
    });
};
