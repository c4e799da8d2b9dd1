import { readFile } from "node:fs/promises";
import { CollectorError } from "../../errors.ts";
import type { TlsFiles } from "./acceptor.ts";

/** Files in PEM; both or neither. */
export interface TlsPaths {
  readonly tlsCert?: string | undefined;
  readonly tlsKey?: string | undefined;
}

/** @throws {CollectorError} ARGUMENT_INVALID if a file cannot be read */
export async function readTls({ tlsCert, tlsKey }: TlsPaths): Promise<TlsFiles | undefined> {
  if (tlsCert === undefined || tlsKey === undefined) return undefined;
  return { cert: await readPem("tlsCert", tlsCert), key: await readPem("tlsKey", tlsKey) };
}

async function readPem(option: string, path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new CollectorError("ARGUMENT_INVALID", `${option}: cannot read ${path}: ${reason}`, {
      cause,
    });
  }
}
