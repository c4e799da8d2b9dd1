import type { FileInfo } from "../../gen/collector/files_pb.ts";

/** Types that a browser may show in place: none of them can run a script here. */
const inlineTypes =
  /^(?:image\/(?:png|jpeg|gif|webp|avif|bmp|x-icon|vnd\.microsoft\.icon)|text\/plain|application\/pdf|audio\/[^;]+|video\/[^;]+)[ \t]*(?:;|$)/i;

/** The headers of every answer about a file that was found. */
export function fileHeaders(file: FileInfo): Record<string, string> {
  return {
    etag: etagOf(file),
    "last-modified": new Date(Number(modifiedS(file)) * 1000).toUTCString(),
    "accept-ranges": "bytes",
    "cache-control": "no-cache",
    "x-content-type-options": "nosniff",
    // Whoever uploads a page must not get to run it under this server's origin.
    "content-security-policy": "sandbox",
  };
}

/** Those of an answer that holds its content, or says how it would. */
export function contentHeaders(file: FileInfo): Record<string, string> {
  return {
    "content-type": file.contentType,
    "content-disposition": disposition(file),
  };
}

export function etagOf(file: FileInfo): string {
  return `"${file.sha256}"`;
}

/** In whole seconds, as `Last-Modified` has it. */
export function modifiedS(file: FileInfo): bigint {
  return file.updatedAt?.seconds ?? 0n;
}

/** With the name in both forms of RFC 6266: those that know the second take it. */
function disposition({ contentType, file }: FileInfo): string {
  const kind = inlineTypes.test(contentType) ? "inline" : "attachment";
  const name = file?.name.slice(file.name.lastIndexOf("/") + 1) ?? "file";
  const plain = name.replace(/[^ !#-~]|[%\\]/g, "_");
  const encoded = encodeURIComponent(name).replace(
    /['()*!]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  );
  const extended = plain === name ? "" : `; filename*=UTF-8''${encoded}`;
  return `${kind}; filename="${plain}"${extended}`;
}
