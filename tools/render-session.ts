/**
 * Runs a short session of the command line on a terminal of its own (`script` of util-linux), against a server that it
 * starts on a temporary folder, and draws what the terminal showed as `docs/images/session.svg`, for light and dark
 * pages. Nothing in the picture is made up; only what times and ids were is as it happened to be.
 */
import { execFile } from "node:child_process";
import { copyFile, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify, stripVTControlCharacters } from "node:util";
import { createCollector } from "../src/index.ts";
import { pathWithCollector } from "../test/support/shell.ts";

const root = join(import.meta.dirname, "..");
const columns = 88;

/** What is typed; the server runs in another terminal. */
const commands = [
  "collector schema add shop.proto",
  "collector collection create products --type shop.v1.Product --index price_cents",
  `collector record put products --id esp-1 -d '{"title": "Espresso machine", "priceCents": 24900}'`,
  `collector record put products --id cup-1 -d '{"title": "Espresso cup", "priceCent": 900}'`,
  `collector record put products --id tea-1 -d '{"title": "Tea pot", "priceCents": 1900}'`,
  "collector record search products espresso --where 'price_cents < 40000' --highlight",
  "collector backup create products -f shop.backup",
  "collector backup restore -f shop.backup --as restored",
  "collector recrod list products",
];

/** A run of characters that look the same. */
interface Span {
  readonly text: string;
  readonly style: string;
}

const lookByCode: Readonly<Record<number, string>> = {
  1: "bold",
  2: "dim",
  31: "red",
  32: "green",
  33: "yellow",
  36: "cyan",
};

const folder = await mkdtemp(join(tmpdir(), "session-"));
try {
  await copyFile(join(root, "examples/shop.proto"), join(folder, "shop.proto"));
  const data = join(folder, "data");
  await using server = await createCollector({ port: 0, logLevel: "silent", data });
  const env = {
    ...process.env,
    PATH: await pathWithCollector(folder),
    NO_COLOR: undefined,
    COLLECTOR_URL: server.url,
    COLUMNS: String(columns),
    TERM: "xterm-256color",
  };
  const lines: Span[][] = [];
  for (const command of commands) {
    lines.push([
      { text: "$ ", style: "prompt" },
      { text: command, style: "typed" },
    ]);
    const shown = await onTerminal(command, env);
    lines.push(...screenOf(shown), []);
  }
  lines.pop();
  await writeFile(join(root, "docs/images/session.svg"), draw(lines));
  console.log(`docs/images/session.svg: ${lines.length} lines`);
} finally {
  await rm(folder, { recursive: true, force: true });
}

/** What a command writes to a terminal; that it fails is part of the session. */
async function onTerminal(command: string, env: NodeJS.ProcessEnv): Promise<string> {
  const line = `stty cols ${columns}; ${command} || true`;
  const args = ["-q", "-E", "never", "-c", line, "/dev/null"];
  const { stdout } = await promisify(execFile)("script", args, { cwd: folder, env });
  return stdout;
}

/** The lines as they stand in the end: what a carriage return goes back over is written over. */
function screenOf(shown: string): Span[][] {
  const lines = shown.replaceAll("\r\n", "\n").split("\n");
  while (lines.length > 0 && stripVTControlCharacters(lines.at(-1) ?? "").trim() === "")
    lines.pop();
  return lines.map((line) => spansOf(line.slice(line.lastIndexOf("\r") + 1)));
}

/** Cuts a line where its look changes; control sequences of other kinds are left out. */
function spansOf(line: string): Span[] {
  const looks = new Set<string>();
  const [plain = "", ...sequences] = line.split("\u001b[");
  const spans: Span[] = [{ text: plain, style: "" }];
  for (const sequence of sequences) {
    const [, codes = "", kind, text = ""] = /^([\d;?]*)([A-Za-z])(.*)$/.exec(sequence) ?? [];
    if (kind === "m") for (const code of codes.split(";")) change(looks, Number(code));
    spans.push({ text, style: [...looks].join(" ") });
  }
  return spans.filter(({ text }) => text !== "");
}

function change(looks: Set<string>, code: number): void {
  const look = lookByCode[code];
  if (look !== undefined) looks.add(look);
  else if (code === 22) for (const name of ["bold", "dim"]) looks.delete(name);
  else if (code === 39) for (const name of ["red", "green", "yellow", "cyan"]) looks.delete(name);
  else if (code === 0) looks.clear();
}

function draw(lines: readonly Span[][]): string {
  const [lineHeight, fontSize, margin] = [19, 13, 18];
  const lengths = lines.map((spans) => spans.reduce((sum, { text }) => sum + text.length, 0));
  // What is typed may be wider than the terminal; of usual fonts none has wider letters than this.
  const width = Math.ceil(Math.max(columns, ...lengths) * fontSize * 0.61) + 2 * margin;
  const height = lines.length * lineHeight + 2 * margin;
  const rows = lines.flatMap((spans, index) => {
    if (spans.length === 0) return [];
    const y = margin + (index + 1) * lineHeight - 5;
    const parts = spans.map(({ text, style }) =>
      style === "" ? escape(text) : `<tspan class="${style}">${escape(text)}</tspan>`,
    );
    return [`<text xml:space="preserve" x="${margin}" y="${y}">${parts.join("")}</text>`];
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" role="img" aria-label="A session of the command line: a schema is added, records are put and searched, a collection is backed up and restored">
<style>
  text { font: ${fontSize}px ui-monospace, "SF Mono", Menlo, Consolas, "Liberation Mono", monospace; fill: #1f2328; white-space: pre; }
  rect { fill: #f6f8fa; stroke: #d0d7de; }
  .prompt, .dim { fill: #656d76; } .typed, .bold { font-weight: 600; }
  .red { fill: #b3261e; } .green { fill: #116329; } .yellow { fill: #7d4e00; } .cyan { fill: #0a5f70; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; } rect { fill: #0d1117; stroke: #30363d; }
    .prompt, .dim { fill: #9198a1; }
    .red { fill: #ff8f87; } .green { fill: #6fdd8b; } .yellow { fill: #e3b341; } .cyan { fill: #76dce5; }
  }
</style>
<rect x="0.5" y="0.5" width="${width - 1}" height="${height - 1}" rx="8"/>
${rows.join("\n")}
</svg>
`;
}

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
