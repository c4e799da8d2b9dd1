/** Path and query of a request, as it names them: any text, which need not be a URL. */
export interface RequestTarget {
  readonly path: string;
  readonly query: URLSearchParams;
}

/** @param url what a request asks for, such as `/a/b?c=d` */
export function readTarget(url: string | undefined): RequestTarget {
  const [path = "", query] = splitOnce(url ?? "");
  return { path: path === "" ? "/" : path, query: new URLSearchParams(query) };
}

/** The target as a URL of some host: whatever cannot stand in one is percent-encoded. */
export function urlOf({ path, query }: RequestTarget): string {
  const url = new URL("http://localhost");
  // Unlike the constructor, these take any text.
  url.pathname = path;
  url.search = query.toString();
  return url.toString();
}

function splitOnce(text: string): readonly string[] {
  const at = text.indexOf("?");
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + 1)];
}
