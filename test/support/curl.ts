import { execFile } from "node:child_process";
import { promisify } from "node:util";

const run = promisify(execFile);

export interface CurlAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

/** Runs curl as a user would. @throws if it gets no answer at all */
export async function curl(...args: string[]): Promise<CurlAnswer> {
  const { stdout } = await run("curl", ["-sS", "-i", "-m", "20", ...args], {
    maxBuffer: 64 * 1024 * 1024,
  });
  // After an interim answer, such as 100 Continue, comes the one that counts.
  const blocks = stdout.replace(/^(?:HTTP\/\S+ 1\d\d.*?\r\n\r\n)+/s, "");
  const end = blocks.indexOf("\r\n\r\n");
  const [status = "", ...lines] = blocks.slice(0, end).split("\r\n");
  const headers = new Headers(
    lines.map((line): [string, string] => {
      const colon = line.indexOf(":");
      return [line.slice(0, colon), line.slice(colon + 1).trim()];
    }),
  );
  return { status: Number(status.split(" ")[1]), headers, text: blocks.slice(end + 4) };
}
