/**
 * Who has a stream open on this instance, told to Postgres in batches (sql/tidings/functions/presence.sql): a user's first
 * stream here is written within `batchMs`, the last one's end after a grace of `graceMs`, so that a reload shows as
 * nothing. While nobody comes or goes nothing is written; a batch is one statement, however many users.
 * Instances that died are found by a lock they no longer hold, and their users taken off by the others.
 */
import { backoff, jitter } from "../backoff.ts";
import type { Sql } from "../db/client.ts";

/** The class of the session lock by which an instance is known to live; its number is the key. */
export const PRESENCE_LOCK = 1953063018;

export interface PresenceOptions {
  readonly sql: Sql;
  /**
   * The number of this instance, 1 to 2^31 - 1. Its LISTEN connection must hold the session lock
   * `pg_advisory_lock(1953063018, instance)` from before the first stream: without it the instance counts as dead.
   */
  readonly instance: number;
  /** From the end of a user's last stream here until it is written, in milliseconds. Default 5000. */
  readonly graceMs?: number | undefined;
  /** How long comings and goings gather, in milliseconds. Default 50. */
  readonly batchMs?: number | undefined;
  /** Between looks for dead instances, in milliseconds; a read alone. Default 5000. */
  readonly reapMs?: number | undefined;
  readonly log: { warn(fields: object, message: string): void };
}

export interface Presence {
  /** A stream of the user was opened here. */
  opened(userId: string): void;
  /** A stream of the user was closed here; call once for each `opened`. */
  closed(userId: string): void;
  /** The LISTEN connection is back: others may have taken this instance for dead, so everything is written again. */
  restore(): void;
  /** Begins to look for dead instances. */
  start(): void;
  /** Ends. What is open here stays written: users who move to another instance are never offline, the others are reaped. */
  stop(): Promise<void>;
}

interface User {
  streams: number;
  /** Whether the database has the user under this instance, as far as known. */
  isWritten: boolean;
  /** When the grace after the last close ends, by `performance.now`. */
  leavesAt: number;
}

/** Users in one statement. */
const MOST = 1_000;

export function createPresence(options: PresenceOptions): Presence {
  const { sql, instance, graceMs = 5_000, batchMs = 50, reapMs = 5_000, log } = options;
  const users = new Map<string, User>();
  /** Users whose row may have to change, and those in their grace, in the order in which it ends. */
  const dirty = new Set<string>();
  const leaving = new Set<string>();
  const retry = backoff({ baseMs: 500, capMs: 10_000 });
  const reaper = createReaper(sql, graceMs, log);
  let timer: ReturnType<typeof setTimeout> | undefined;
  let plannedAt = 0;
  let reapTimer: ReturnType<typeof setTimeout> | undefined;
  let working: Promise<void> | undefined;
  let isStopped = false;

  /** What is to be written now. */
  function take(): { opens: string[]; closes: string[] } {
    const now = performance.now();
    for (const userId of leaving) {
      if (users.get(userId)!.leavesAt > now) break;
      leaving.delete(userId);
      dirty.add(userId);
    }
    const opens: string[] = [];
    const closes: string[] = [];
    for (const userId of dirty) {
      if (opens.length + closes.length === MOST) break;
      dirty.delete(userId);
      const user = users.get(userId)!;
      if (user.streams > 0 && !user.isWritten) opens.push(userId);
      else if (user.streams === 0 && user.isWritten && !leaving.has(userId)) closes.push(userId);
      else if (user.streams === 0 && !user.isWritten) forget(userId);
    }
    return { opens, closes };
  }

  function forget(userId: string): void {
    dirty.delete(userId);
    leaving.delete(userId);
    users.delete(userId);
  }

  async function write(): Promise<void> {
    const { opens, closes } = take();
    try {
      if (opens.length > 0) {
        for (const userId of opens) users.get(userId)!.isWritten = true;
        await sql`select tidings.presence_open(${instance}, ${opens}::text[])`;
      }
      if (closes.length > 0) {
        await sql`select tidings.presence_close(${instance}, ${closes}::text[])`;
        for (const userId of closes) settleClose(userId);
      }
      retry.reset();
    } catch (error) {
      for (const userId of opens) users.get(userId)!.isWritten = false;
      for (const userId of [...opens, ...closes]) dirty.add(userId);
      if (!isStopped) log.warn({ err: error }, "presence was not written; it is tried again");
      await new Promise((resolve) => setTimeout(resolve, isStopped ? 0 : 100 + retry.next()));
    }
  }

  function settleClose(userId: string): void {
    const user = users.get(userId)!;
    user.isWritten = false;
    if (user.streams > 0) dirty.add(userId);
    else forget(userId);
  }

  function schedule(): void {
    if (isStopped || working) return;
    const [next] = leaving;
    const wait = dirty.size > 0 ? 0 : next ? users.get(next)!.leavesAt - performance.now() : null;
    if (wait === null) return;
    const at = performance.now() + Math.max(wait, batchMs);
    // Only ever brought forward: comings without a pause must not put off the batch for ever.
    if (timer && at >= plannedAt) return;
    clearTimeout(timer);
    plannedAt = at;
    timer = setTimeout(run, Math.max(wait, batchMs));
  }

  function run(): void {
    timer = undefined;
    working = write().finally(() => {
      working = undefined;
      schedule();
    });
  }

  function reapLater(): void {
    if (isStopped) return;
    reapTimer = setTimeout(() => void reaper.reap().finally(reapLater), jitter(reapMs * 0.8, reapMs * 1.2));
  }

  return {
    opened(userId) {
      const user = users.get(userId) ?? { streams: 0, isWritten: false, leavesAt: 0 };
      users.set(userId, user);
      user.streams++;
      leaving.delete(userId);
      if (user.streams > 1 || user.isWritten) return;
      dirty.add(userId);
      schedule();
    },
    closed(userId) {
      const user = users.get(userId);
      if (!user || user.streams === 0 || --user.streams > 0) return;
      user.leavesAt = performance.now() + graceMs;
      leaving.add(userId);
      schedule();
    },
    restore() {
      for (const [userId, user] of users) {
        user.isWritten = false;
        dirty.add(userId);
      }
      schedule();
    },
    start: reapLater,
    async stop() {
      isStopped = true;
      clearTimeout(timer);
      clearTimeout(reapTimer);
      await Promise.all([working, reaper.idle()]);
    },
  };
}

interface Reaper {
  reap(): Promise<void>;
  idle(): Promise<void>;
}

/** Takes users off instances that were dead at two looks with the grace between them: a reconnect is no death. */
function createReaper(sql: Sql, graceMs: number, log: PresenceOptions["log"]): Reaper {
  let suspects = new Map<number, number>();
  let running: Promise<void> | undefined;

  async function look(): Promise<void> {
    const [row] = await sql<{ dead: number[] }[]>`select tidings.presence_dead() as dead`;
    const now = performance.now();
    suspects = new Map(row!.dead.map((dead) => [dead, suspects.get(dead) ?? now]));
    for (const [dead, since] of suspects) {
      if (now - since < graceMs) continue;
      for (let taken = MOST; taken === MOST; ) {
        const [reaped] = await sql<{ taken: number }[]>`select tidings.presence_reap(${dead}, ${MOST}) as taken`;
        taken = reaped!.taken;
      }
    }
  }

  return {
    reap() {
      running = look().catch((error) => log.warn({ err: error }, "dead instances were not looked for; tried again"));
      return running;
    },
    idle: () => running ?? Promise.resolve(),
  };
}
