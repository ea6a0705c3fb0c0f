/**
 * Reads entries for streams: the Reader of core, over Postgres. Reads of many users fold into one query; streams of
 * one user at one cursor share their answer. Frames come out of the database as JSON text and are not parsed here.
 */
import { Entry } from "../core/entry.ts";
import type { Page, Reader } from "../core/reader.ts";
import type { UnreadCount } from "../protocol/frames.ts";
import { batch } from "./batch.ts";
import type { Sql } from "./client.ts";

export interface EntriesOptions {
  readonly sql: Sql;
  /** Called after each query. */
  readonly observe?: (
    query: "open" | "read" | "revoked" | "unread" | "heads" | "parcel",
    seconds: number,
    rows: number,
  ) => void;
  /** Entries per user and read. Default 100. */
  readonly pageSize?: number;
}

const USERS_PER_QUERY = 200;
/** How long opening streams wait for each other in a storm. */
const GATHER_MS = 250;

interface Row {
  n: number;
  last_id: number | null;
  floor_id: number | null;
  unread_count: number | null;
  revoked_at: number | null;
  id: number | null;
  event: string | null;
  event_type: string | null;
  notification: string | null;
  archived: boolean | null;
  streamed: boolean | null;
  created_ms: number | null;
}

interface Question {
  readonly userId: string;
  readonly cursor: number | null;
}

export function createEntries(options: EntriesOptions): Reader {
  const { sql, observe, pageSize = 100 } = options;

  async function timed<T extends readonly unknown[]>(
    query: Parameters<NonNullable<typeof observe>>[0],
    run: () => Promise<T>,
  ): Promise<T> {
    const began = performance.now();
    const rows = await run();
    observe?.(query, (performance.now() - began) / 1_000, rows.length);
    return rows;
  }

  const readMany =
    (kind: "open" | "read") =>
    async (questions: readonly Question[]): Promise<readonly Page[]> => {
      const distinct = new Map<string, number>();
      const asked = questions.map(({ userId, cursor }) => {
        const key = `${cursor ?? ""}:${userId}`;
        const at = distinct.get(key) ?? distinct.size;
        distinct.set(key, at);
        return at;
      });
      const unique: Question[] = [];
      questions.forEach((question, at) => {
        unique[asked[at]!] = question;
      });
      const users = unique.map((one) => one.userId);
      const cursors = unique.map((one) => one.cursor);
      const rows = await timed(
        kind,
        () => sql<Row[]>`
      select r.n::int, i.last_id, i.floor_id, i.unread_count, floor(extract(epoch from v.revoked_at))::float8 as revoked_at,
        e.id, e.event, e.event_type, e.notification, e.archived, e.streamed, e.created_ms
      from unnest(${users}::text[], ${cursors}::bigint[]) with ordinality as r(user_id, cursor, n)
      left join tidings.inbox i on i.user_id = r.user_id
      left join tidings.revocation v on v.user_id = r.user_id
      left join lateral (
        select n.id, tidings.current_event(n.event)::text as event, n.event ->> 'type' as event_type,
          tidings.canonical(n.id, n.type, n.title, n.message, n.data, n.is_read, n.archived_at is not null, n.created_at)::text as notification,
          n.archived_at is not null as archived, n.streamed, extract(epoch from n.created_at)::float8 * 1000 as created_ms
        from tidings.notification n where n.user_id = r.user_id and n.id > r.cursor order by n.id limit ${pageSize}
      ) e on true
      order by r.n, e.id`,
      );
      const pages = pagesOf(rows, unique.length, pageSize);
      return asked.map((at) => pages[at]!);
    };

  const open = batch({ run: readMany("open"), most: USERS_PER_QUERY, lanes: 2, gatherMs: GATHER_MS });
  const read = batch({ run: readMany("read"), most: USERS_PER_QUERY, lanes: 2 });

  const unread = batch({
    most: USERS_PER_QUERY,
    gatherMs: GATHER_MS,
    run: async (users: readonly string[]): Promise<readonly UnreadCount[]> => {
      const rows = await timed(
        "unread",
        () => sql<{ unread: UnreadCount }[]>`
        select tidings.unread(u) as unread from unnest(${users as string[]}::text[]) with ordinality as r(u, n) order by n`,
      );
      return rows.map((row) => row.unread);
    },
  });

  const revokedAt = batch({
    most: USERS_PER_QUERY,
    gatherMs: GATHER_MS,
    run: async (users: readonly string[]): Promise<readonly number[]> => {
      const rows = await timed(
        "revoked",
        () => sql<{ at: number | null }[]>`
        select floor(extract(epoch from v.revoked_at))::float8 as at
        from unnest(${users as string[]}::text[]) with ordinality as r(u, n)
        left join tidings.revocation v on v.user_id = u order by n`,
      );
      return rows.map((row) => row.at ?? Number.NEGATIVE_INFINITY);
    },
  });

  return {
    revokedAt,
    read: (userId, cursor, opening) => (opening ? open : read)({ userId, cursor }),
    unread,
    async heads(userIds) {
      const rows = await timed(
        "heads",
        () => sql<{ user_id: string; last_id: number; revoked_at: number | null }[]>`
          select user_id, coalesce(i.last_id, 0)::bigint as last_id, floor(extract(epoch from v.revoked_at))::float8 as revoked_at
          from unnest(${userIds as string[]}::text[]) user_id
          left join tidings.inbox i using (user_id) left join tidings.revocation v using (user_id)
          where i.user_id is not null or v.user_id is not null`,
      );
      return new Map(
        rows.map((row) => [
          row.user_id,
          { lastId: row.last_id, revokedAt: row.revoked_at ?? Number.NEGATIVE_INFINITY },
        ]),
      );
    },
    async parcel(id) {
      const rows = await timed(
        "parcel",
        () => sql<{ payload: string }[]>`
        select payload::text as payload from tidings.parcel where id = ${id}`,
      );
      return rows[0]?.payload ?? null;
    },
  };
}

function pagesOf(rows: readonly Row[], count: number, pageSize: number): Page[] {
  const entries: Entry[][] = Array.from({ length: count }, () => []);
  const heads: Row[] = [];
  for (const row of rows) {
    heads[row.n - 1] ??= row;
    if (row.id !== null) entries[row.n - 1]!.push(entryOf(row));
  }
  return heads.map((head, at) => ({
    lastId: head.last_id ?? 0,
    floorId: head.floor_id ?? 0,
    unreadCount: head.unread_count ?? 0,
    entries: entries[at]!,
    more: entries[at]!.length === pageSize,
    // no revocation: nothing is at or before it
    revokedAt: head.revoked_at ?? Number.NEGATIVE_INFINITY,
  }));
}

function entryOf(row: Row): Entry {
  const { id, event, event_type, notification, archived, streamed, created_ms } = row;
  return new Entry(id!, event, event_type ?? "", notification, archived === true, streamed !== false, created_ms!);
}
