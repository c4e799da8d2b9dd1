/**
 * The URL of a module beside the calling one, for threads and processes to start with: it has the
 * extension that the calling module has, so it is right in the source and in the compiled form.
 *
 * @param from the caller's `import.meta.url`.
 * @param name the module's file name without its extension.
 */
export function siblingModule(from: string, name: string): URL {
  const extension = from.endsWith(".ts") ? ".ts" : ".js";
  return new URL(`./${name}${extension}`, from);
}
