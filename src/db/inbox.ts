/**
 * A user's inbox over Postgres: lists, counts and read state. Every function acts on the rows of the user it is
 * given and no other; state changes go through the SQL functions, which announce them to the user's streams.
 */
import type { Notification, UnreadCount } from "../protocol/frames.ts";
import type { Sql } from "./client.ts";

export interface ListQuery {
  readonly unread?: boolean | undefined;
  readonly type?: string | undefined;
  /** Only ids below this one. */
  readonly before?: number | undefined;
  readonly limit: number;
}

export interface Inbox {
  /** Newest first. `next`: pass as `before` for the next page, null at the end. */
  list(userId: string, query: ListQuery): Promise<{ items: Notification[]; next: number | null }>;
  unread(userId: string): Promise<UnreadCount>;
  /** Everything a client needs after a reconnect, in one snapshot (one statement). */
  snapshot(userId: string): Promise<Record<string, unknown>>;
  /** The notification as it is then, and whether that changed it; null where the user has none such. */
  mark(userId: string, id: number, status: "read" | "unread" | "archived"): Promise<Notification | null>;
  /** How many changed. */
  markAllRead(
    userId: string,
    filter?: { upTo?: number | undefined; type?: string | undefined; roomId?: number | undefined },
  ): Promise<number>;
  /** Epoch seconds of the user's revocation; -Infinity where there is none. */
  revokedAt(userId: string): Promise<number>;
}

const SNAPSHOT_SIZE = 50;

/**
 * @param domain whether the reference domain is there to add its part to the snapshot
 * @param atGate asked for revocations: a pool in which those who may come in do not wait behind those who have
 */
export function createInbox(sql: Sql, domain: boolean, atGate: Sql = sql): Inbox {
  const canonical = sql`tidings.canonical(n.id, n.type, n.title, n.message, n.data, n.is_read, n.archived_at is not null, n.created_at)`;
  const shown = sql`n.message is not null and n.archived_at is null`;
  return {
    async list(userId, { unread, type, before, limit }) {
      const rows = await sql<{ item: Notification }[]>`
        select ${canonical} as item from tidings.notification n
        where n.user_id = ${userId} and ${shown}
          ${unread === undefined ? sql`` : sql`and n.is_read = ${!unread}`}
          ${type === undefined ? sql`` : sql`and n.type = ${type}`}
          ${before === undefined ? sql`` : sql`and n.id < ${before}`}
        order by n.id desc limit ${limit + 1}`;
      const items = rows.slice(0, limit).map((row) => row.item);
      return { items, next: rows.length > limit ? items.at(-1)!.id : null };
    },
    async unread(userId) {
      const [row] = await sql<{ unread: UnreadCount }[]>`select tidings.unread(${userId}) as unread`;
      return row!.unread;
    },
    async snapshot(userId) {
      const [row] = await sql<{ snapshot: Record<string, unknown> }[]>`
        select jsonb_build_object(
          'notifications', coalesce((select jsonb_agg(${canonical} order by n.id desc) from (
            select * from tidings.notification n where n.user_id = ${userId} and ${shown} order by n.id desc limit ${SNAPSHOT_SIZE}) n), '[]'),
          'unread_count', u.unread -> 'count', 'by_type', u.unread -> 'by_type',
          'pending_invites', '[]'::jsonb, 'friend_requests', '[]'::jsonb, 'friends', '[]'::jsonb,
          'last_event_id', coalesce((select last_id from tidings.inbox where user_id = ${userId}), 0))
          ${domain ? sql`|| app.inbox_json(${userId})` : sql``} as snapshot
        from (select tidings.unread(${userId}) as unread) u`;
      return row!.snapshot;
    },
    async mark(userId, id, status) {
      const [row] = await sql<{ item: Notification }[]>`
        select ${canonical} as item from tidings.mark(${userId}, ${id}, ${status}) n`;
      return row?.item ?? null;
    },
    async markAllRead(userId, { upTo, type, roomId } = {}) {
      const [row] = await sql<{ changed: number }[]>`
        select tidings.mark_all_read(${userId}, ${upTo ?? null}::bigint, ${type ?? null}::text, ${roomId ?? null}::bigint) as changed`;
      return row!.changed;
    },
    async revokedAt(userId) {
      const [row] = await atGate<{ at: number }[]>`
        select floor(extract(epoch from revoked_at))::float8 as at from tidings.revocation where user_id = ${userId}`;
      return row?.at ?? Number.NEGATIVE_INFINITY;
    },
  };
}
