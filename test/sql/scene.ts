/**
 * What the SQL tests share: a source table whose rows notify their recipient, everything heard on the channel, and
 * checks that must hold whatever happened.
 */

import postgres from "postgres";
import * as assert from "uvu/assert";
import { connectionOptions, type Sql } from "../../src/db/client.ts";
import { database, type TestDatabase } from "../helpers/database.ts";

export interface Scene {
  readonly db: TestDatabase;
  readonly sql: Sql;
  /** Connections for writers that run at the same time. */
  readonly pool: Sql;
}

/** A database without the domain, with the table `note (recipient, body)`: a row for each of its recipients. */
export async function scene(options: { writers?: number } = {}): Promise<Scene> {
  const db = await database({ domain: false });
  const sql = db.sql;
  await sql.unsafe(`
    create table note (id bigint generated always as identity primary key, recipient text, body text);
    create function stage_note() returns trigger language plpgsql as $$
    begin
      perform tidings.send_notification(new.recipient, 'Note', new.body, 'note', jsonb_build_object('note_id', new.id));
      return null;
    end $$;
    create trigger stage_note after insert on note for each row execute function stage_note();`);
  return { db, sql, pool: db.connect({ max: options.writers ?? 20 }) };
}

export interface Heard {
  readonly envelopes: Record<string, unknown>[];
  /** The NOTIFYs that brought them. */
  readonly texts: string[];
  /** The stored entries among them, as user:id. */
  entries(): string[];
  stop(): Promise<void>;
}

/** LISTENs on the channel until stopped. */
export async function hear(url: string): Promise<Heard> {
  const sql = postgres(url, { ...connectionOptions("hear"), max: 1 });
  const envelopes: Record<string, unknown>[] = [];
  const texts: string[] = [];
  await sql.listen("tidings", (text) => {
    texts.push(text);
    const parsed: unknown = JSON.parse(text);
    for (const one of Array.isArray(parsed) ? parsed : [parsed]) envelopes.push(one as Record<string, unknown>);
  });
  return {
    envelopes,
    texts,
    entries: () =>
      envelopes.filter(({ id }) => id !== undefined).map(({ group, id }) => `${String(group).slice(5)}:${id}`),
    stop: () => sql.end({ timeout: 1 }),
  };
}

/** Every sequence is 1..last_id, the counts equal a recount, nothing is left over in the outbox. */
export async function checkInvariants(sql: Sql): Promise<void> {
  const broken = await sql`
    select i.user_id, i.last_id, i.unread_count, i.floor_id, n.many, n.newest, n.unread
    from tidings.inbox i left join lateral (
      select count(*) many, max(id) newest, count(*) filter (where message is not null and not is_read and archived_at is null) unread
      from tidings.notification n where n.user_id = i.user_id) n on true
    where i.unread_count <> n.unread
      or (i.floor_id = 0 and (n.many <> i.last_id or coalesce(n.newest, 0) <> i.last_id))
      or (i.floor_id > 0 and exists (
        select from generate_series(i.floor_id + 1, i.last_id) id
        where not exists (select from tidings.notification n where n.user_id = i.user_id and n.id = id.id)))`;
  assert.equal([...broken], []);
  const [left] = await sql`select count(*) from tidings.outbox`;
  assert.is(left!.count, 0, "rows left in the outbox");
}

/** The id and message of each entry of a user. */
export async function entriesOf(sql: Sql, user: string): Promise<[number, string | null][]> {
  const rows = await sql`select id, message from tidings.notification where user_id = ${user} order by id`;
  return rows.map((row) => [row.id, row.message]);
}

/** A number in [0, n) from a seeded generator, so that a failing run can be repeated. */
export function randomOf(seed: number): (n: number) => number {
  let state = seed;
  return (n) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
}

/** Milliseconds that `work` took. */
export async function timed(work: () => PromiseLike<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return performance.now() - began;
}

/** The SQLSTATE a promise is rejected with, or undefined. */
export async function codeOf(work: PromiseLike<unknown>): Promise<string | undefined> {
  try {
    await work;
    return undefined;
  } catch (error) {
    return (error as { code?: string }).code ?? String(error);
  }
}
