/**
 * What the store holds, and how frames and answers change it: pure functions from one snapshot to the next.
 * The list is newest first and by id without doubles; counts follow the server's where it says them.
 */
import type { Invite, Notification, NotificationUpdate, UnreadCount, UserRef } from "../protocol/frames.ts";
import type { State } from "./machine.ts";

/** The answer of `GET /api/inbox`. */
export interface Inbox {
  notifications: Notification[];
  unread_count: number;
  by_type: Record<string, number>;
  last_event_id: number;
  pending_invites?: Invite[];
  friend_requests?: Record<string, unknown>[];
  friends?: (UserRef & { friend_status?: "online" | "offline" })[];
  [extra: string]: unknown;
}

/** One immutable picture of the client; a new object on every change, the same one between changes. */
export interface Snapshot {
  readonly state: State;
  /** A stream is open and has said so. */
  readonly connected: boolean;
  /** What the stream runs over; `tab`: another tab's connection. Null while there is none. */
  readonly transport: "websocket" | "sse" | "tab" | null;
  /** The close code that ended in state `failed`, else null. */
  readonly failure: number | null;
  readonly userId: string | number | null;
  /** Newest first; as far back as was loaded. */
  readonly notifications: readonly Notification[];
  /** Whether older ones may exist on the server. */
  readonly hasMore: boolean;
  readonly unreadCount: number;
  readonly byType: Readonly<Record<string, number>>;
  /** The id of the last entry received whole; null before the start. */
  readonly cursor: number | null;
  /** The last answer of `GET /api/inbox`, with pending invites and friends; null until it came. */
  readonly inbox: Inbox | null;
}

export const EMPTY: Snapshot = {
  state: "idle",
  connected: false,
  transport: null,
  failure: null,
  userId: null,
  notifications: [],
  hasMore: false,
  unreadCount: 0,
  byType: {},
  cursor: null,
  inbox: null,
};

const PAGE = 50;
/** More than this is let go again; `loadMore` brings it back. */
const KEPT = 1000;

/** Adds to the counts, never below nothing; a type without unread ones has no key. */
export function count(at: Snapshot, by: Readonly<Record<string, number>>, factor = 1): Snapshot {
  const byType = { ...at.byType };
  let unreadCount = at.unreadCount;
  for (const [type, number] of Object.entries(by)) {
    unreadCount += number * factor;
    byType[type] = (byType[type] ?? 0) + number * factor;
    if (byType[type] <= 0) delete byType[type];
  }
  return { ...at, unreadCount: Math.max(0, unreadCount), byType };
}

/** The list with `more` in it; an item of the same id is replaced. */
export function merge(list: readonly Notification[], more: readonly Notification[]): Notification[] {
  const byId = new Map([...list, ...more].map((item) => [item.id, item]));
  return [...byId.values()].filter((item) => !item.archived).sort((a, b) => b.id - a.id);
}

/** A notification came. One that is new and unread counts one more, unless the inbox snapshot has counted it already. */
export function arrive(at: Snapshot, item: Notification): Snapshot {
  const known = at.notifications.some((other) => other.id === item.id);
  const merged = merge(at.notifications, [item]);
  const next = { ...at, notifications: merged.slice(0, KEPT), hasMore: at.hasMore || merged.length > KEPT };
  const counts = !known && !item.archived && item.id > (at.inbox?.last_event_id ?? 0);
  return counts ? count(next, tally([item])) : next;
}

/** The inbox was read anew. What streamed in after it was taken stays, and stays counted. */
export function hydrate(at: Snapshot, inbox: Inbox): Snapshot {
  const newer = at.notifications.filter((item) => item.id > inbox.last_event_id);
  const fresh: Snapshot = {
    ...at,
    inbox,
    notifications: merge(inbox.notifications, newer),
    hasMore: inbox.notifications.length >= PAGE,
    unreadCount: inbox.unread_count,
    byType: inbox.by_type,
  };
  return newer
    .filter((item) => !item.is_read)
    .reduce((now, item) => count(now, { [item.notification_type]: 1 }), fresh);
}

/** The server's own count. */
export function recount(at: Snapshot, { count: unreadCount, by_type: byType }: UnreadCount): Snapshot {
  return { ...at, unreadCount, byType };
}

/** An older page, from `GET /api/notifications`: it changes no count. */
export function append(at: Snapshot, page: readonly Notification[]): Snapshot {
  return { ...at, notifications: merge(page, at.notifications), hasMore: page.length >= PAGE };
}

/** Read state changed elsewhere. Changes the list only: the server's `unread_count` frame comes beside it, in any order. */
export function update(at: Snapshot, change: NotificationUpdate): Snapshot {
  const patch = PATCH[change.status];
  const meant = "up_to" in change ? within(change) : ({ id }: Notification) => id === change.notification_id;
  return patch ? patched(at, at.notifications.filter(meant), patch) : at;
}

/** What a change of state does to an item; `delivered` and `emailed` do nothing. */
export const PATCH: Readonly<Record<string, Partial<Notification>>> = {
  read: { is_read: true },
  unread: { is_read: false },
  archived: { archived: true },
};

/** The list with some items changed, or as they were given where there is no change. */
export function patched(at: Snapshot, items: readonly Notification[], patch?: Partial<Notification>): Snapshot {
  return items[0]
    ? {
        ...at,
        notifications: merge(
          at.notifications,
          items.map((item) => ({ ...item, ...patch })),
        ),
      }
    : at;
}

/** How many unread ones of each type. */
export function tally(items: readonly Notification[]): Record<string, number> {
  const by: Record<string, number> = {};
  for (const item of items) if (!item.is_read) by[item.notification_type] = (by[item.notification_type] ?? 0) + 1;
  return by;
}

/** Which notifications a bulk change means. */
export interface Bulk {
  /** Up to this id; newer ones stay as they are. */
  up_to?: number;
  type?: string;
  room_id?: number;
}

/** Whether a notification is one of those a bulk change means. */
export function within({ up_to = Infinity, type, room_id }: Bulk): (item: Notification) => boolean {
  return (item) =>
    item.id <= up_to &&
    (type === undefined || item.notification_type === type) &&
    (room_id === undefined || item.data.room_id === room_id);
}
