/**
 * Reads entries for streams: the Reader of core, over Postgres. Reads of many users fold into one query; streams of
 * one user at one cursor share their answer. Frames come out of the database as JSON text and are not parsed here.
 */
import { Entry } from "../core/entry.ts";
import type { Page, Reader } from "../core/reader.ts";
import { within } from "../deadline.ts";
import type { UnreadCount } from "../protocol/frames.ts";
import { batch } from "./batch.ts";
import type { Sql } from "./client.ts";

export interface EntriesOptions {
  readonly sql: Sql;
  /** Where the first reads of streams are seen to wait. */
  readonly openings?: { enter(): () => void };
  /** Called after each query. */
  readonly observe?: (query: "open" | "read" | "unread" | "heads" | "parcel", seconds: number, rows: number) => void;
  /** Entries per user and read. Default 100. */
  readonly pageSize?: number;
}

/** Questions in one query. */
export const USERS_PER_QUERY = 200;
/** A connection that died unseen must not keep its lane: the streams ask again. */
const ANSWER_MS = 30_000;
const NEVER = new AbortController().signal;
/** Queries of a kind at the same time. */
const LANES = 2;
/** How long opening streams wait for each other in a storm. */
const GATHER_MS = 250;
/** Unread notifications that are counted by type within an opening read; of more, the others in it would wait for the count. */
const COUNTED = 1_000;
/** Between the fields of an entry and between entries: JSON never holds them unescaped. */
const FIELD = "\x1f";
const ENTRY = "\x1e";

/** One user of a question: the state, and the page's entries as one text. */
interface Row {
  last_id: number | null;
  floor_id: number | null;
  unread_count: number | null;
  revoked_at: number | null;
  unread: string | null;
  entries: string | null;
}

interface Question {
  readonly userId: string;
  readonly cursor: number | null;
}

export interface Entries extends Reader {
  /**
   * Opens the connections of opening reads and has their query prepared: in the storm after a restart, each of the
   * round trips that takes would wait for a turn of a loop that is full of handshakes.
   */
  warm(): Promise<void>;
}

export function createEntries(options: EntriesOptions): Entries {
  const { sql, openings, observe, pageSize = 100 } = options;

  async function timed<T extends readonly unknown[]>(
    query: Parameters<NonNullable<typeof observe>>[0],
    run: () => Promise<T>,
    count = (answer: T): number => answer.length,
  ): Promise<T> {
    const began = performance.now();
    const answer = await within(run(), ANSWER_MS, "Postgres did not answer a read of entries in 30 s.", NEVER);
    observe?.(query, (performance.now() - began) / 1_000, count(answer));
    return answer;
  }

  /** One row a user: a row an entry, with the user's state repeated in each, costs the driver more than all else. */
  async function pagesFor(users: string[], cursors: (number | null)[], opening: boolean): Promise<Page[]> {
    const rows = await sql<Row[]>`
      select i.last_id, i.floor_id, i.unread_count, floor(extract(epoch from v.revoked_at))::float8 as revoked_at, e.entries,
        case when ${opening}::boolean and r.cursor is not null and i.unread_count <= ${COUNTED}::int then tidings.unread(r.user_id)::text end as unread
      from unnest(${users}::text[], ${cursors}::bigint[]) with ordinality as r(user_id, cursor, n)
      left join tidings.inbox i on i.user_id = r.user_id
      left join tidings.revocation v on v.user_id = r.user_id
      left join lateral (
        select string_agg(concat(n.id, ${FIELD}::text, extract(epoch from n.created_at)::float8 * 1000, ${FIELD}::text, n.archived_at is not null,
          ${FIELD}::text, n.streamed, ${FIELD}::text, n.event -> 'type', ${FIELD}::text, tidings.current_event(n.event), ${FIELD}::text,
          tidings.canonical(n.id, n.type, n.title, n.message, n.data, n.is_read, n.archived_at is not null, n.created_at)),
          ${ENTRY}::text order by n.id) as entries
        from (select * from tidings.notification n where n.user_id = r.user_id and n.id > r.cursor order by n.id limit ${pageSize}) n
      ) e on true
      order by r.n`;
    return rows.map((row) => pageOf(row, pageSize));
  }

  const readMany =
    (kind: "open" | "read") =>
    async (questions: readonly Question[]): Promise<readonly Page[]> => {
      const distinct = new Map<string, number>();
      const users: string[] = [];
      const cursors: (number | null)[] = [];
      const asked = questions.map(({ userId, cursor }) => {
        const key = `${cursor ?? ""}:${userId}`;
        const known = distinct.get(key);
        if (known !== undefined) return known;
        distinct.set(key, users.length);
        cursors.push(cursor);
        return users.push(userId) - 1;
      });
      const entries = (pages: readonly Page[]): number => pages.reduce((sum, page) => sum + page.entries.length, 0);
      const pages = await timed(kind, () => pagesFor(users, cursors, kind === "open"), entries);
      return asked.map((at) => pages[at]!);
    };

  const openMany = batch({ run: readMany("open"), most: USERS_PER_QUERY, lanes: LANES, gatherMs: GATHER_MS });
  const open = async (question: Question): Promise<Page> => {
    const leave = openings?.enter();
    try {
      return await openMany(question);
    } finally {
      leave?.();
    }
  };
  const read = batch({ run: readMany("read"), most: USERS_PER_QUERY, lanes: LANES });

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

  return {
    revokedAt: async (userId) => (await open({ userId, cursor: null })).revokedAt,
    async warm() {
      await Promise.all(Array.from({ length: LANES }, () => pagesFor([], [], true)));
    },
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

function pageOf(row: Row, pageSize: number): Page {
  const entries = row.entries === null ? [] : row.entries.split(ENTRY).map(entryOf);
  return {
    lastId: row.last_id ?? 0,
    floorId: row.floor_id ?? 0,
    unreadCount: row.unread_count ?? 0,
    unread: row.unread,
    entries,
    more: entries.length === pageSize,
    // no revocation: nothing is at or before it
    revokedAt: row.revoked_at ?? Number.NEGATIVE_INFINITY,
  };
}

function entryOf(text: string): Entry {
  const [id, createdMs, archived, streamed, type, event, notification] = text.split(FIELD) as [string, ...string[]];
  return new Entry(
    Number(id),
    event || null,
    type ? String(JSON.parse(type)) : "",
    notification || null,
    archived === "t",
    streamed !== "f",
    Number(createdMs),
  );
}
