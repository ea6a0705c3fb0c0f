/** Lists, newest first: pages by key, so that what is written meanwhile neither repeats nor hides an item. */
import { unknownCaller } from "./caller.ts";

export interface PageQuery {
  /** Only ids below this one. */
  readonly before?: number | undefined;
  /** Most items. */
  readonly limit: number;
}

export interface Page<Item> {
  readonly items: Item[];
  /** Pass as `before` for the next page; null at the end. */
  readonly next: number | null;
}

/**
 * A page from the rows of a statement that begins at the caller and joins one item more than asked for: a known caller
 * without items gets one row without an item.
 * @throws TidingsError "forbidden" where there is no row at all: the caller is unknown.
 */
export function pageOf<Item extends { id: number }>(
  rows: readonly { readonly item: Item | null }[],
  limit: number,
): Page<Item> {
  if (rows.length === 0) throw unknownCaller();
  const all = rows.flatMap(({ item }) => item ?? []);
  const items = all.slice(0, limit);
  return { items, next: all.length > limit ? items.at(-1)!.id : null };
}
