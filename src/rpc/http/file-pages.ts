import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { CollectorError, invalidField } from "../../errors.ts";
import {
  type DownloadFileRequestSchema,
  type DownloadFileResponse,
  type FileInfo,
  type FileName,
  FileNameSchema,
  FileService,
  type StatFileResponse,
} from "../../gen/collector/files_pb.ts";
import type { Limits } from "../../lib/limits.ts";
import type { Routes } from "../call.ts";
import { toConnectError } from "../status.ts";
import { contentHeaders, etagOf, fileHeaders, modifiedS } from "./file-headers.ts";
import { type ByteRange, type Conditions, isUnchanged, rangeOf } from "./http-conditions.ts";
import { respondError } from "./http-errors.ts";
import type { HttpRoute } from "./http-routes.ts";
import { pageCall } from "./page-call.ts";
import { type HttpRequest, type HttpResponse, respondEmpty, respondWith } from "./responses.ts";

export interface FilePagesOptions {
  /** Serve FileService: what is asked here passes its interceptors. */
  readonly routes: Routes;
  readonly limits: Pick<Limits, "streamIdleMs">;
  readonly newRequestId: () => string;
}

/** How often an answer starts over because its file is replaced while it is looked up. */
const replacedMax = 5;

/** Attached files by plain HTTP, at the path that `FileInfo.uri` names: whole, in part, or if changed. */
export function filePages(options: FilePagesOptions): readonly HttpRoute[] {
  const pages = new FilePages(options);
  return [
    {
      method: "GET",
      path: "/files/",
      handle: (request, response) => pages.handle(request, response),
    },
  ];
}

class FilePages {
  readonly #options: FilePagesOptions;

  constructor(options: FilePagesOptions) {
    this.#options = options;
  }

  async handle(request: HttpRequest, response: HttpResponse): Promise<void> {
    const hangUp = new AbortController();
    response.once("close", () => {
      hangUp.abort();
    });
    const requestId = this.#options.newRequestId();
    const asked: Asked = { request, response, requestId, signal: hangUp.signal };
    try {
      const file = parsePath(request.url ?? "/");
      for (let attempt = 1; ; attempt += 1) {
        if (await this.#answer(asked, file, attempt === replacedMax)) return;
      }
    } catch (error) {
      if (hangUp.signal.aborted) return;
      if (response.headersSent) response.destroy();
      else respondError(request, response, toConnectError(error, requestId));
    }
  }

  /** @returns false if the file was replaced meanwhile, and nothing was answered */
  async #answer(asked: Asked, name: FileName, isLast: boolean): Promise<boolean> {
    const { request, response } = asked;
    const file = await this.#stat(asked, name);
    const conditions = conditionsOf(request);
    const found = { etag: etagOf(file), modifiedS: modifiedS(file), sizeBytes: file.sizeBytes };
    const headers = fileHeaders(file);
    if (isUnchanged(conditions, found)) {
      respondEmpty(request, response, 304, headers);
      return true;
    }
    // RFC 9110: a range is of GET alone.
    const range = request.method === "GET" ? rangeOf(conditions, found) : undefined;
    if (range === "unsatisfiable") {
      const size = { "content-range": `bytes */${file.sizeBytes}`, "content-length": "0" };
      respondEmpty(request, response, 416, { ...headers, ...size });
      return true;
    }
    const full = {
      ...headers,
      ...contentHeaders(file),
      "content-length": String(lengthOf(range, file)),
      ...(range === undefined
        ? {}
        : { "content-range": `bytes ${range.first}-${range.last}/${file.sizeBytes}` }),
    };
    if (request.method === "HEAD") {
      respondEmpty(request, response, 200, full);
      return true;
    }
    const messages = await this.#download(asked, name, range, file);
    const iterator = messages[Symbol.asyncIterator]();
    try {
      const first = await iterator.next();
      const sent = first.done === true ? undefined : first.value.file;
      if (sent?.sha256 !== file.sha256 && !isLast) return false;
      if (sent?.sha256 !== file.sha256) throw replaced();
      const status = range === undefined ? 200 : 206;
      const idleMs = this.#options.limits.streamIdleMs;
      await respondWith(request, response, status, full, chunksOf(iterator), idleMs);
      return true;
    } finally {
      await iterator.return?.();
    }
  }

  async #stat({ request, requestId, signal }: Asked, file: FileName): Promise<FileInfo> {
    const method = FileService.method.statFile;
    const call = pageCall({ method, request, requestId, signal });
    const answer = await this.#bound(method.name).invoke(create(method.input, { file }), call);
    const { file: found } = answer as StatFileResponse;
    if (found === undefined) throw new Error("StatFile answered no file");
    return found;
  }

  async #download(
    { request, requestId, signal }: Asked,
    file: FileName,
    range: ByteRange | undefined,
    { sizeBytes }: FileInfo,
  ): Promise<AsyncIterable<DownloadFileResponse>> {
    const method = FileService.method.downloadFile;
    const call = pageCall({ method, request, requestId, signal });
    const part = range ?? { first: 0n, last: sizeBytes - 1n };
    const wanted: MessageInitShape<typeof DownloadFileRequestSchema> = {
      file,
      offset: part.first,
      length: part.last - part.first + 1n,
    };
    const answer = await this.#bound(method.name).invoke(create(method.input, wanted), call);
    return answer as AsyncIterable<DownloadFileResponse>;
  }

  #bound(methodName: string): NonNullable<ReturnType<Routes["find"]>> {
    const bound = this.#options.routes.find(FileService.typeName, methodName);
    if (bound === undefined) throw new Error(`${methodName} is not served`);
    return bound;
  }
}

interface Asked {
  readonly request: HttpRequest;
  readonly response: HttpResponse;
  readonly requestId: string;
  readonly signal: AbortSignal;
}

async function* chunksOf(
  messages: AsyncIterator<DownloadFileResponse>,
): AsyncGenerator<Uint8Array> {
  for (let next = await messages.next(); next.done !== true; next = await messages.next()) {
    yield next.value.chunk;
  }
}

function lengthOf(range: ByteRange | undefined, { sizeBytes }: FileInfo): bigint {
  return range === undefined ? sizeBytes : range.last - range.first + 1n;
}

function conditionsOf({ headers }: HttpRequest): Conditions {
  const ifRange = headers["if-range"];
  return {
    ifNoneMatch: headers["if-none-match"],
    ifModifiedSince: headers["if-modified-since"],
    ifRange: Array.isArray(ifRange) ? ifRange[0] : ifRange,
    range: headers.range,
  };
}

/**
 * The file that a path names; each segment is decoded once.
 *
 * @throws {CollectorError} FILE_NOT_FOUND for another path, FILE_NAME_INVALID
 */
function parsePath(url: string): FileName {
  const path = url.split("?", 1)[0] ?? "";
  const [namespace = "", collectionName = "", kind, ...rest] = path
    .slice("/files/".length)
    .split("/")
    .map(decodeSegment);
  const recordId = kind === "records" ? (rest.shift() ?? "") : "";
  const isPath = kind === "shared" || (kind === "records" && recordId !== "");
  if (!isPath || rest.length === 0 || namespace === "") {
    throw new CollectorError(
      "FILE_NOT_FOUND",
      "there is no file here: its path is /files/{namespace}/{collection}/records/{id}/{name} or /files/{namespace}/{collection}/shared/{name}",
    );
  }
  if (rest.some((segment) => segment.includes("/"))) {
    throw invalidField("FILE_NAME_INVALID", "file.name", "has an encoded `/`; write it as it is");
  }
  return create(FileNameSchema, { namespace, collectionName, recordId, name: rest.join("/") });
}

function decodeSegment(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch (cause) {
    throw new CollectorError(
      "FILE_NAME_INVALID",
      "the path is not percent-encoded UTF-8; write a `%` of a name as %25",
      { cause },
    );
  }
}

function replaced(): CollectorError {
  return new CollectorError("OVERLOADED", "the file is replaced again and again; try again later", {
    retryAfterMs: 1000,
  });
}
