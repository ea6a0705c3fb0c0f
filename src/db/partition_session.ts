/**
 * How a partitioning holds on to the database: one session lock for all of it, and transactions whose locks nobody waits behind for
 * long. Lock timeouts are shorter than the deadlock detector's, so that in any circle of waits it is we who step back.
 */
import { backoff } from "../backoff.ts";
import { sleep } from "../deadline.ts";
import { TidingsError } from "../errors.ts";
import type { Sql } from "./client.ts";
import { openSingle, type Single } from "./single.ts";

const LEAVE_MS = 2_000;

export interface PartitionOptions {
  /** Number of partitions, where nothing is under way yet. */
  readonly partitions: number;
  /** Rows per batch. */
  readonly batch: number;
  /** Aborted: it ends after the batch at hand. */
  readonly signal: AbortSignal;
  /** A step is done. */
  tell(text: string): void;
  /** How far a long step is. */
  progress(text: string): void;
}

/** A connection that never opens another: session locks and transactions stay on it, or fail. */
export type Session = Sql;

/** Lock not available in time, deadlock, a key that moved between two entries under our hands. */
const AGAIN = ["55P03", "40P01", "23505"];

/** Whether trying again is all there is to do about it. */
export const passing = (error: unknown): boolean => AGAIN.includes((error as { code?: string }).code ?? "");

/**
 * One at a time, by the table's owner: `first` holds the lock until the work is over, or the process is. `second` is there
 * for what has to be committed while the first is in a transaction.
 */
export async function exclusively<T>(url: string, work: (first: Session, second: Session) => Promise<T>): Promise<T> {
  const open = (): Single => openSingle(url, { name: "partition", onNotify() {}, onClose() {} });
  const [first, second] = [open(), open()];
  try {
    const [row] = await first.sql<{ owner: string; role: string; may: boolean; free: boolean }[]>`
      select relowner::regrole::text as owner, current_user::text as role, pg_has_role(relowner, 'usage') as may,
        case when pg_has_role(relowner, 'usage') then pg_try_advisory_lock(hashtextextended('tidings partition', 0)) end as free
      from (select to_regclass('tidings.notification') as oid) t join pg_class c using (oid)`;
    if (row && !row.may) {
      throw new TidingsError(
        "configuration",
        `The role "${row.role}" does not own tidings.notification: connect as ${row.owner}.`,
      );
    }
    if (row && !row.free)
      throw new TidingsError("conflict", "Somebody else is partitioning this database: wait for them to end.");
    for (const { sql } of [first, second]) await sql`set statement_timeout = 0`;
    // what the second waits for may itself wait for the first, which waits for the second where Postgres cannot see it
    await second.sql`set lock_timeout = 100`;
    return await work(first.sql, second.sql);
  } finally {
    await Promise.all([first.leave(LEAVE_MS), second.leave(LEAVE_MS)]);
  }
}

/** A transaction whose locks nobody waits behind for long; tried until it is through. */
export async function patiently(
  session: Session,
  { signal, tell }: Pick<PartitionOptions, "signal" | "tell">,
  work: (tx: Session) => PromiseLike<unknown>,
): Promise<void> {
  const pause = backoff({ baseMs: 200, capMs: 3_000 });
  for (let told = performance.now(); ; ) {
    try {
      await transaction(session, work);
      return;
    } catch (error) {
      if (!passing(error)) throw error;
      if (performance.now() - told > 10_000) {
        tell("Still waiting for a moment without a long transaction on tidings.notification.");
        told = performance.now();
      }
      await sleep(pause.next(), signal);
      if (signal.aborted)
        throw new TidingsError("unavailable", "Stopped while waiting for a lock: run it again to go on.");
    }
  }
}

/** Commits what `work` does, with the lock timeout. */
export async function transaction(session: Session, work: (tx: Session) => PromiseLike<unknown>): Promise<void> {
  await session`begin isolation level read committed`;
  try {
    // below deadlock_timeout: in a circle of waits it is we who give up, and no writer is chosen
    await session`select set_config('lock_timeout',
      least(100, extract(epoch from current_setting('deadlock_timeout')::interval) * 500)::int || 'ms', true)`;
    await work(session);
    await session`commit`;
  } catch (error) {
    await session`rollback`.catch(() => {});
    throw error;
  }
}
