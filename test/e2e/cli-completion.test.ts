import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { type Shell, shells } from "../../src/cli/completion/scripts.ts";
import { machineCan } from "../support/capabilities.ts";
import { runCliHere } from "../support/cli-in-process.ts";
import { openCollector, type TestCollector } from "../support/pricing.ts";
import { pathWithCollector } from "../support/shell.ts";
import { type TempFolder, tempFolder } from "../support/temp-folder.ts";
import { waitUntil } from "../support/wait.ts";

const shop = join(import.meta.dirname, "../../examples/shop.proto");

/** How each begins, with nobody's own settings. */
const commands: Readonly<Record<Shell, string>> = {
  bash: "bash --norc --noprofile -i",
  zsh: "zsh -f -i",
  fish: "fish --no-config -i",
};

/**
 * What each reads first: the completion, and then a command `collector` that says what it was given, unless
 * it is asked for completions.
 */
const preludes: Readonly<Record<Shell, string>> = {
  bash: `source <(collector completion bash)
collector() { if [ "$1" = completion ]; then command collector "$@"; else printf '<%s>' "$@"; echo; fi; }`,
  zsh: `autoload -U compinit; compinit -u -D
source <(collector completion zsh)
collector() { if [ "$1" = completion ]; then command collector "$@"; else printf '<%s>' "$@"; echo; fi; }`,
  fish: `collector completion fish | source
function collector
  if test "$argv[1]" = completion; command collector $argv; else; printf '<%s>' $argv; echo; end
end`,
};

/** What is typed, the key Tab too, and what the command is given then. */
const lines: readonly (readonly [typed: string, words: string])[] = [
  ["collector sche\t", "<schema>"],
  ["collector record get \t", "<record><get><products>"],
  ["collector record list products --whe\tpri\t", "<record><list><products><--where><price_cents>"],
  ["collector call collector.Namesp\tCr\t", "<call><collector.Namespaces/CreateNamespace>"],
  ["collector schema show sho\t", "<schema><show><shop.v1.Product>"],
];

let folder: TempFolder;
let server: TestCollector;
let env: Readonly<Record<string, string>>;

before(async () => {
  folder = await tempFolder("cli-completion");
  server = await openCollector();
  const path = await pathWithCollector(folder.path);
  env = { COLLECTOR_URL: server.url, PATH: path, HOME: folder.path, TERM: "xterm" };
  await runCliHere(["schema", "add", shop], env);
  await runCliHere("collection create products --type shop.v1.Product".split(" "), env);
  for (const shell of shells) await writeFile(join(folder.path, shell), preludes[shell]);
});

after(async () => {
  await server[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

describe("completion on a terminal", () => {
  for (const shell of shells) {
    it(`works in ${shell}`, { timeout: 180_000 }, async (t) => {
      if (!machineCan(shell, t)) return;
      const child = spawn("script", ["-qec", commands[shell], "/dev/null"], {
        env: { ...process.env, ...env },
        stdio: ["pipe", "pipe", "inherit"],
      });
      const exit = once(child, "exit");
      let text = "";
      child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
        text += chunk;
      });
      /** Types a line once the one before is done; the shell's own echo is never what is waited for. */
      const type = async (line: string, answer: string): Promise<void> => {
        text = "";
        child.stdin.write(`${line}\n`);
        await waitUntil(`${answer} after ${JSON.stringify(line)}`, 30_000, () => {
          if (text.includes(answer)) return true;
          throw new Error(text);
        });
      };
      try {
        await type("stty cols 200; echo is-ready | tr a-z A-Z", "IS-READY");
        await type(`. ${join(folder.path, shell)}; echo is-read | tr a-z A-Z`, "IS-READ");
        for (const [typed, words] of lines) await type(typed, words);
      } finally {
        child.stdin.end("exit\n");
        await exit;
      }
    });
  }
});
