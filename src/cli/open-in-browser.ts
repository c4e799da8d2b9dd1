import { spawn } from "node:child_process";
import { once } from "node:events";
import { codeOf } from "./failure.ts";

type Env = Readonly<Record<string, string | undefined>>;

/** How long a program that opens a browser may take to say that it cannot. */
const settleMs = 1000;

/**
 * Shows an address in the browser of whoever sits here.
 *
 * @returns why that is not possible, undefined if it was shown
 */
export async function openInBrowser(url: string, env: Env): Promise<string | undefined> {
  const [program, ...args] = openerOf(url, env, process.platform);
  if (program === undefined) return "there is no display here";
  // Nothing of it is waited for: a browser that it starts may live for days.
  const child = spawn(program, args, { stdio: "ignore", detached: true });
  try {
    const [code] = await once(child, "exit", { signal: AbortSignal.timeout(settleMs) });
    return code === 0 ? undefined : `\`${program}\` found no browser`;
  } catch (error) {
    if (codeOf(error) === "ENOENT") return `there is no \`${program}\` here`;
    if (error instanceof Error && error.name === "AbortError") return undefined;
    return error instanceof Error ? error.message : String(error);
  } finally {
    child.unref();
  }
}

/** The program of the desktop that opens addresses; nothing where there is no desktop. */
export function openerOf(url: string, env: Env, platform: NodeJS.Platform): readonly string[] {
  const chosen = env["BROWSER"];
  if (chosen !== undefined && chosen !== "") return [chosen, url];
  if (platform === "darwin") return ["open", url];
  // Not through `cmd`, which would read the `&` of an address.
  if (platform === "win32") return ["rundll32", "url.dll,FileProtocolHandler", url];
  const hasDisplay = (env["DISPLAY"] ?? "") !== "" || (env["WAYLAND_DISPLAY"] ?? "") !== "";
  return hasDisplay ? ["xdg-open", url] : [];
}
