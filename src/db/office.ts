/**
 * Offices: what one instance of all does for the rest, or what an instance tells the writers about itself. Each is an
 * advisory lock of a session, held on the instance's own connection (db/listener.ts), and so goes with it.
 */
import type { PendingQuery, Row } from "postgres";
import type { Sql } from "./client.ts";

/** 'tidi'; the writers' side of these keys is in sql/tidings/functions/announce.sql. */
const LOCK_CLASS = 1953063017;

export const OFFICE = {
  /** Announces for busy writers, and keeps house (db/relay.ts). Keys 1 to 3 are the writers' own. */
  relay: 0,
  /** Tells writers that the WAL is read for all who want to hear (feed/claims.ts). */
  walFed: 4,
  /** Held shared by every instance that hears by NOTIFY: then who holds `walFed` must announce. */
  needsNotify: 5,
  /** Publishes to the bus (feed/bus_relay.ts). */
  busRelay: 6,
  /** Reads the WAL for FEED=wal, and announces it by NOTIFY (feed/wal_way.ts). */
  announcing: 7,
} as const;

export type Office = (typeof OFFICE)[keyof typeof OFFICE];

/** An instance asks something every 5 s at least. */
const ABSENT_MS = 10_000;

/** How an office is held: by one instance alone, or shared. Writers hold keys shared for the length of a commit. */
type Mode = "ExclusiveLock" | "ShareLock";

const locks = (sql: Sql, mode: Mode): PendingQuery<Row[]> => sql`
  select objid::int as office, pid from pg_locks where locktype = 'advisory' and classid = ${LOCK_CLASS} and objsubid = 2
    and granted and mode = ${mode} and database = (select oid from pg_database where datname = current_database())`;

/**
 * Milliseconds since a session was answered last, null for one at work; for a row of pg_stat_get_activity(), which costs half
 * of what the view over it does. Other roles' sessions are seen by members of pg_read_all_stats only.
 */
const idleMs = (sql: Sql): PendingQuery<Row[]> =>
  sql`case when state = 'idle' then extract(epoch from clock_timestamp() - state_change)::float8 * 1000 end`;

/** Takes the office where nobody holds it. Waits at most 50 ms. */
export async function takeOffice(connection: Sql, office: Office): Promise<boolean> {
  const [row] = await connection<{ won: boolean; taken: boolean }[]>`
    select pg_try_advisory_lock(${LOCK_CLASS}, ${office}) as won,
      exists (${locks(connection, "ExclusiveLock")} and objid = ${office}) as taken`;
  return row!.won || (!row!.taken && (await stand(connection, office)));
}

/**
 * Busy writers may hold a key shared all the time, and a try then never meets it free. One that waits stops further
 * writers from taking it; they hold it for one commit.
 */
async function stand(connection: Sql, office: Office): Promise<boolean> {
  try {
    // one text, not connection.begin: the driver ends the process when the connection is lost in the middle of one
    await connection
      .unsafe(`set local lock_timeout = '50ms'; select pg_advisory_lock(${LOCK_CLASS}, ${office})`)
      .simple();
    return true;
  } catch {
    return false;
  }
}

export async function leaveOffice(connection: Sql, office: Office): Promise<void> {
  await connection`select pg_advisory_unlock(${LOCK_CLASS}, ${office})`;
}

/** Holds it together with others; for `needsNotify`, which is never taken alone. */
export async function shareOffice(connection: Sql, office: Office): Promise<void> {
  await connection`select pg_advisory_lock_shared(${LOCK_CLASS}, ${office})`;
}

export async function unshareOffice(connection: Sql, office: Office): Promise<void> {
  await connection`select pg_advisory_unlock_shared(${LOCK_CLASS}, ${office})`;
}

/** Whether any instance shares it. */
export async function isShared(sql: Sql, office: Office): Promise<boolean> {
  const [row] = await sql<{ yes: boolean }[]>`select exists (${locks(sql, "ShareLock")} and objid = ${office}) as yes`;
  return row!.yes;
}

export interface Holder {
  /** The process id of its session. */
  readonly pid: number;
  /** Since the last thing it asked was answered; null while something is being done, or where that is not to be seen. */
  readonly idleMs: number | null;
}

/** The offices that are held. */
export async function holders(sql: Sql): Promise<Partial<Record<Office, Holder>>> {
  const rows = await sql<({ office: Office } & Holder)[]>`
    select office, held.pid, ${idleMs(sql)} as "idleMs"
    from (${locks(sql, "ExclusiveLock")}) held left join lateral pg_stat_get_activity(held.pid) on true`;
  return Object.fromEntries(rows.map(({ office, ...holder }) => [office, holder]));
}

/**
 * Ends the sessions of holders that are there and do not run (a stopped process, a paused machine): their offices are free
 * at once, and whatever they do later, they cannot say it in that office. Where the role may not, nothing is done.
 */
export async function endAbsent(sql: Sql): Promise<void> {
  await sql`
    select pg_terminate_backend(held.pid)
    from (${locks(sql, "ExclusiveLock")}) held cross join lateral pg_stat_get_activity(held.pid)
    where ${idleMs(sql)} > ${ABSENT_MS} and pg_has_role(usesysid, 'usage')`;
}
