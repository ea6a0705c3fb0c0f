/** Retention and tidying, by the one instance that is also the relay. Batches, with pauses, never in a writer's way. */
import { jitter } from "../backoff.ts";
import type { Sql } from "./client.ts";

const TIDY_MS = 60_000;
const PRUNE_EVERY = 10;
const BATCH = 1_000;
const PAUSE_MS = 50;

export interface HousekeeperOptions {
  readonly sql: Sql;
  readonly retentionDays: number;
  /** Whether it is on this instance to do it. */
  elected(): boolean;
  failed(error: unknown): void;
  pruned?(entries: number): void;
}

export interface Housekeeper {
  start(): void;
  /** One round now: prunes what is due and tidies. Returns how many entries were pruned. */
  run(): Promise<number>;
  stop(): Promise<void>;
}

export function createHousekeeper(options: HousekeeperOptions): Housekeeper {
  const { sql, retentionDays, elected, failed, pruned } = options;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let running: Promise<unknown> = Promise.resolve();
  let stopped = false;
  let rounds = 0;

  async function prune(): Promise<number> {
    let total = 0;
    while (!stopped) {
      const [row] = await sql<{ gone: number }[]>`
        select tidings.prune(clock_timestamp() - ${retentionDays} * interval '1 day', ${BATCH}) as gone`;
      total += row!.gone;
      if (row!.gone < BATCH) break;
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
    if (total > 0) pruned?.(total);
    return total;
  }

  async function round(): Promise<void> {
    try {
      if (elected()) {
        await sql`select tidings.tidy()`;
        if (rounds++ % PRUNE_EVERY === 0) await prune();
      }
    } catch (error) {
      failed(error);
    }
    schedule();
  }

  function schedule(): void {
    if (!stopped) timer = setTimeout(() => (running = round()), jitter(TIDY_MS * 0.8, TIDY_MS * 1.2));
  }

  return {
    start: schedule,
    async run() {
      await sql`select tidings.tidy()`;
      return prune();
    },
    async stop() {
      stopped = true;
      clearTimeout(timer);
      await running;
    },
  };
}
