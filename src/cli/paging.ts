interface Page<T> {
  readonly items: readonly T[];
  readonly nextPageToken: string;
}

/** Everything that a paged method lists; meant for what people make by hand, not for records. */
export async function allPages<T>(fetch: (pageToken: string) => Promise<Page<T>>): Promise<T[]> {
  const items: T[] = [];
  let pageToken = "";
  do {
    const page = await fetch(pageToken);
    items.push(...page.items);
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  return items;
}
