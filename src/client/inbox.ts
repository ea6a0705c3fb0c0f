/**
 * The inbox calls. What changes read state is shown at once and taken back when the server refuses; the counts go back
 * only if the server has not said its own meanwhile.
 */
import type { Notification, UnreadCount } from "../protocol/frames.ts";
import type { Send } from "./rest.ts";
import { append, type Bulk, count, type Inbox, PATCH, patched, recount, tally, within } from "./snapshot.ts";
import type { Store } from "./store.ts";

export interface ListQuery {
  /** Only unread ones. */
  unread?: boolean;
  /** Only this `notification_type`. */
  type?: string;
  /** Only those older than this id: the `next` of the page before. */
  before?: number | undefined;
  /** 50 by default, at most 200. */
  limit?: number;
}

export interface Page {
  items: Notification[];
  /** What to ask for next; null on the last page. */
  next: number | string | null;
}

/** All reject with RequestError; those that change something have then restored what they showed. */
export interface InboxCalls {
  /** A page of the inbox, newest first; leaves the store alone. */
  list(query?: ListQuery): Promise<Page>;
  /** Brings the next older page into the store; false when there was none. */
  loadMore(): Promise<boolean>;
  /** Asks the server for the count and puts it into the store. */
  unreadCount(): Promise<UnreadCount>;
  markRead(id: number): Promise<void>;
  markUnread(id: number): Promise<void>;
  /** Marks what is meant as read, by default all up to the newest one received: never what was not seen yet. */
  markAllRead(which?: Bulk): Promise<void>;
  /** Takes a notification out of the inbox. */
  remove(id: number): Promise<void>;
}

const PATH = "/api/notifications";

/** Reads the whole inbox: the snapshot that a stream continues. */
export function readInbox(send: Send): Promise<Inbox> {
  return send("GET", "/api/inbox") as Promise<Inbox>;
}

export function inboxCalls(store: Store, send: Send): InboxCalls {
  /** Shows the change at once, takes `by` off the counts, and puts both back when the request fails. */
  async function change(
    items: Notification[],
    status: "read" | "unread" | "archived",
    by: Record<string, number>,
    ...request: Parameters<Send>
  ): Promise<void> {
    const counted = store.counted();
    const shown = items.length || Object.keys(by).length;
    if (shown) store.change((at) => count(patched(at, items, PATCH[status]), by, -1));
    try {
      await send(...request);
    } catch (error) {
      const own = store.counted() === counted ? by : {};
      if (shown) store.change((at) => count(patched(at, items), own));
      throw error;
    }
  }

  const find = (meant: (item: Notification) => boolean): Notification[] =>
    store.getSnapshot().notifications.filter(meant);

  function mark(id: number, isRead: boolean): Promise<void> {
    const items = find((item) => item.id === id && item.is_read !== isRead);
    const status = isRead ? "read" : "unread";
    const type = items[0]?.notification_type;
    return change(items, status, type ? { [type]: isRead ? 1 : -1 } : {}, "POST", `${PATH}/${id}/${status}`);
  }

  function markAllRead(asked: Bulk = {}): Promise<void> {
    const { cursor, byType } = store.getSnapshot();
    const which = { up_to: cursor ?? undefined, ...asked };
    const items = find((item) => !item.is_read && within(which)(item));
    const { type } = which;
    // Up to the newest and in every room: then those that were never loaded are meant too.
    const all = which.room_id === undefined && (which.up_to ?? Infinity) >= (cursor ?? 0);
    const by = !all ? tally(items) : type ? { [type]: byType[type] ?? 0 } : byType;
    return change(items, "read", by, "POST", `${PATH}/read_all`, which);
  }

  function remove(id: number): Promise<void> {
    const items = find((item) => item.id === id);
    return change(items, "archived", tally(items), "DELETE", `${PATH}/${id}`);
  }

  async function loadMore(): Promise<boolean> {
    const { items } = await list({ before: store.getSnapshot().notifications.at(-1)?.id });
    store.change((at) => append(at, items));
    return items.length > 0;
  }

  async function list(query: ListQuery = {}): Promise<Page> {
    const search = new URLSearchParams(Object.entries(query).filter(([, value]) => value) as [string, string][]);
    return (await send("GET", `${PATH}?${search}`)) as Page;
  }

  async function unreadCount(): Promise<UnreadCount> {
    const counts = (await send("GET", `${PATH}/unread_count`)) as UnreadCount;
    store.change((at) => recount(at, counts));
    return counts;
  }

  return {
    list,
    loadMore,
    unreadCount,
    markRead: (id) => mark(id, true),
    markUnread: (id) => mark(id, false),
    markAllRead,
    remove,
  };
}
