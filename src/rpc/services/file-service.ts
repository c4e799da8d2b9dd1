import type { FileCatalog } from "../../files/file-catalog.ts";
import { readUpload } from "../../files/upload-parts.ts";
import type { FileService } from "../../gen/collector/files_pb.ts";
import type { ServiceHandlers } from "../call.ts";

/** `collector.FileService` over the {@link FileCatalog}. */
export function fileService(files: FileCatalog): ServiceHandlers<typeof FileService> {
  return {
    async uploadFile(messages, { signal }) {
      await using upload = await readUpload(messages, signal);
      return { file: await files.upload(upload.header, upload.chunks, signal) };
    },

    async *downloadFile(request) {
      await using download = await files.download(request);
      yield { file: download.file };
      for await (const chunk of download.chunks) yield { chunk };
    },

    async statFile({ file }) {
      return { file: await files.stat(file) };
    },

    listAttachedFiles: (request) => files.list(request),

    async deleteFile(request) {
      await files.delete(request);
      return {};
    },
  };
}
