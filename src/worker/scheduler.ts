/**
 * Runs what falls due by the clock: expired invites, reminders, overdue tasks (sql/app/functions/schedule.sql). Every
 * instance sleeps until the next due moment and asks; Postgres lets one at a time act. So there is nothing to take over
 * when one dies, a downtime is made up for at the next start, and the state in the rows keeps anything from being sent
 * twice. Delay: under a second on a healthy database. It never polls faster than once a second without work.
 */
import { backoff, jitter } from "../backoff.ts";
import type { Sql } from "../db/client.ts";

export interface SchedulerOptions {
  readonly sql: Sql;
  /** How long before `due_at` a task is reminded of, in seconds. */
  readonly reminderSeconds: number;
  readonly log: { warn(fields: object, message: string): void };
}

export interface Scheduler {
  /** Begins; the first round, which makes up for a downtime, is run at once. Resolves without waiting for it. */
  start(): Promise<void>;
  /** Ends after the round that is running. Idempotent. */
  stop(): Promise<void>;
  /**
   * Something was written that falls due at `at` (the control envelope `{"type":"schedule","at":…}`): asks now, unless
   * that is far behind the next planned round. Without `at` always.
   */
  nudge(at?: string): void;
}

/** Most rows of a kind in one transaction: their recipients' other writers wait for its commit. */
const BATCH = 500;
/** The longest sleep. triggers/schedule.sql relies on it: what is due later than this needs no nudge. */
const IDLE_MS = 30_000;
/** Something is due and locked by somebody, or another instance is at it. */
const RETRY_MS = 1_000;
/** Instances wake at slightly different moments, so that mostly one finds all the work. */
const SPREAD_MS = 250;
/** Nudges closer together than this are one. */
const GATHER_MS = 100;
/** How far the clocks of this machine and of Postgres may differ for a nudge not to be overlooked. */
const SKEW_MS = 60_000;

interface Round {
  done: number | null;
  wait: number | null;
}

/** Milliseconds until the next round. */
function pause({ done, wait }: Round): number {
  if (done !== null && done > 0) return 0;
  if (done === null || (wait !== null && wait <= 0)) return RETRY_MS;
  return wait === null ? IDLE_MS : Math.min(wait * 1_000, IDLE_MS);
}

export function createScheduler(options: SchedulerOptions): Scheduler {
  const { sql, reminderSeconds, log } = options;
  const retry = backoff({ baseMs: 1_000, capMs: 10_000 });
  let timer: ReturnType<typeof setTimeout> | undefined;
  let running: Promise<void> | undefined;
  /** When the next round is planned, by `Date.now`. */
  let plannedAt = Number.POSITIVE_INFINITY;
  let isNudged = false;
  let isStarted = false;
  let isStopped = false;

  async function round(): Promise<number> {
    try {
      const [row] = await sql<Round[]>`select done, wait from app.run_schedule(${reminderSeconds}, ${BATCH})`;
      retry.reset();
      const ms = pause(row!);
      return ms === 0 ? 0 : ms + jitter(0, SPREAD_MS);
    } catch (error) {
      if (!isStopped) log.warn({ err: error }, "a round of the scheduler failed; it is tried again");
      return 500 + retry.next();
    }
  }

  function plan(ms: number): void {
    if (isStopped) return;
    clearTimeout(timer);
    plannedAt = Date.now() + ms;
    timer = setTimeout(() => {
      isNudged = false;
      running = round().then((next) => {
        running = undefined;
        plan(isNudged ? Math.min(next, GATHER_MS) : next);
      });
    }, ms);
  }

  return {
    async start() {
      if (!isStarted) plan(0);
      isStarted = true;
    },
    async stop() {
      isStopped = true;
      clearTimeout(timer);
      await running;
    },
    nudge(at) {
      const dueAt = at === undefined ? Number.NEGATIVE_INFINITY : Date.parse(at) - reminderSeconds * 1_000;
      if (!isStarted || dueAt > plannedAt + SKEW_MS) return;
      // What was written while a round is running may have come too late for it.
      isNudged = true;
      if (!running && plannedAt - Date.now() > GATHER_MS) plan(GATHER_MS);
    },
  };
}
