/**
 * Everything that writes entries, at once and without end: single, keyed and bulk sends, reading, archiving, ageing and pruning. Each
 * lane notes how long its statements took and what failed, so that a test can say that nobody waited and nobody lost.
 */
import type { Sql } from "../../src/db/client.ts";

/** Between the statements of a lane: what is under test must be able to keep up on a machine that does other things too. */
const PAUSE_MS = 15;

export interface Traffic {
  /** Milliseconds of each statement. */
  readonly waits: number[];
  readonly failures: unknown[];
  /** Stops when what is running is through. */
  stop(): Promise<void>;
}

/** @param users ids 1 to this many get entries */
export function traffic(sql: Sql, users: number): Traffic {
  const waits: number[] = [];
  const failures: unknown[] = [];
  let stopped = false;
  const anyone = (): string => String(1 + Math.floor(Math.random() * users));
  const lanes: ((round: number) => PromiseLike<unknown>)[] = [
    () => sql`select tidings.send_notification(${anyone()}::text, 'Title', 'single', 'note')`,
    // few keys: most are taken already, and become free when their entry is pruned
    (round) =>
      sql`select tidings.send_notification(${anyone()}::text, 'Title', 'keyed', 'note', key => ${`k${round % 7}`}::text)`,
    () =>
      sql`select tidings.broadcast(array(select (random() * ${users - 1})::bigint + 1 from generate_series(1, 12)), 'Title', 'bulk', 'note')`,
    () => sql`select tidings.mark(user_id, last_id - (random() * 5)::int, (array['read', 'unread', 'archived'])[1 + (random() * 2)::int])
      from tidings.inbox where user_id = ${anyone()}`,
    () => sql`select tidings.mark_all_read(${anyone()}::text)`,
    (round) =>
      round % 2 === 0
        ? sql`update tidings.notification n set created_at = created_at - interval '40 days' from tidings.inbox i
            where i.user_id = ${anyone()} and n.user_id = i.user_id and n.id = i.floor_id + 1`
        : sql`select tidings.prune(clock_timestamp() - interval '30 days', 50)`,
  ];
  const running = lanes.map(async (lane) => {
    for (let round = 0; !stopped; round++) {
      const began = performance.now();
      await lane(round).then(undefined, (error: unknown) => failures.push(error));
      waits.push(performance.now() - began);
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  });
  return {
    waits,
    failures,
    async stop() {
      stopped = true;
      await Promise.all(running);
    },
  };
}
