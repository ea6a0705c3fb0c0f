/**
 * The delivered watermark: the newest id first written to any stream of a user. Kept in memory and flushed in one
 * statement for all users every couple of seconds, and only while something moved: never a write per frame.
 */
import type { Sql } from "./client.ts";

export interface Delivered {
  note(userId: string, id: number): void;
  /** Flushes what is left and stops. */
  stop(): Promise<void>;
}

const FLUSH_MS = 2_000;
/** Their inbox rows are locked until the statement commits: few at a time, so that no writer waits long. */
const USERS_PER_STATEMENT = 100;

/** @param failed a flush did not work; its marks are kept and tried again */
export function createDelivered(sql: Sql, failed: (error: unknown) => void): Delivered {
  let marks = new Map<string, number>();
  let timer: ReturnType<typeof setTimeout> | undefined;
  let flushing: Promise<void> = Promise.resolve();
  let stopped = false;

  async function flush(): Promise<void> {
    timer = undefined;
    const taken = marks;
    marks = new Map();
    const all = [...taken];
    try {
      for (let at = 0; at < all.length; at += USERS_PER_STATEMENT) {
        const some = all.slice(at, at + USERS_PER_STATEMENT);
        await sql`select tidings.mark_delivered(${some.map(([user]) => user)}::text[], ${some.map(([, id]) => id)}::bigint[])`;
        for (const [user] of some) taken.delete(user);
      }
    } catch (error) {
      failed(error);
      for (const [user, id] of taken) note(user, id);
    }
  }

  function note(userId: string, id: number): void {
    if (id > (marks.get(userId) ?? 0)) marks.set(userId, id);
    if (!timer && !stopped) timer = setTimeout(() => (flushing = flush()), FLUSH_MS);
  }

  return {
    note,
    async stop() {
      stopped = true;
      clearTimeout(timer);
      await flushing;
      await flush();
    },
  };
}
