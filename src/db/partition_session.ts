/**
 * How a partitioning holds on to the database: one session lock for all of it, and transactions whose locks nobody waits behind for
 * long. Lock timeouts are shorter than the deadlock detector's, so that in any circle of waits it is we who step back.
 */
import { backoff } from "../backoff.ts";
import { TidingsError } from "../errors.ts";
import type { Sql } from "./client.ts";
import { sleep } from "./deadline.ts";

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

/** A reserved connection: session locks and transactions stay on it. */
export type Session = Awaited<ReturnType<Sql["reserve"]>>;

/** Lock not available in time, deadlock, a key that moved between two entries under our hands. */
const AGAIN = ["55P03", "40P01", "23505"];

/** Whether trying again is all there is to do about it. */
export const passing = (error: unknown): boolean => AGAIN.includes((error as { code?: string }).code ?? "");

/** One at a time, by the table's owner: with a session that holds the lock until the work is over, or the process is. */
export async function exclusively<T>(sql: Sql, work: (session: Session) => Promise<T>): Promise<T> {
  const session = await sql.reserve();
  try {
    const [row] = await session<{ owner: string; role: string; may: boolean; free: boolean }[]>`
      select relowner::regrole::text as owner, current_user::text as role, pg_has_role(relowner, 'usage') as may,
        pg_has_role(relowner, 'usage') and pg_try_advisory_lock(hashtextextended('tidings partition', 0)) as free
      from (select to_regclass('tidings.notification') as oid) t join pg_class c using (oid)`;
    if (row && !row.may) {
      throw new TidingsError(
        "configuration",
        `The role "${row.role}" does not own tidings.notification: connect as ${row.owner}.`,
      );
    }
    if (row && !row.free)
      throw new TidingsError("conflict", "Somebody else is partitioning this database: wait for them to end.");
    await session`set statement_timeout = 0`;
    return await work(session);
  } finally {
    await session`select pg_advisory_unlock_all()`.catch(() => {});
    await session`reset statement_timeout`.catch(() => {});
    session.release();
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
    await session`select set_config('lock_timeout', least(100, extract(epoch from current_setting('deadlock_timeout')::interval) * 500)::int || 'ms', true)`;
    await work(session);
    await session`commit`;
  } catch (error) {
    await session`rollback`.catch(() => {});
    throw error;
  }
}
