/**
 * The relay of the doorbell (sql/tidings/functions/announce.sql): announces envelopes that writers left because others
 * were notifying. One instance of all is it: the one whose LISTEN connection holds the session lock; when that dies,
 * the lock goes with it and the next instance takes over at its next heartbeat. That instance is also the housekeeper.
 *
 * It polls only while there is traffic, and once per heartbeat otherwise. Losing any of it costs streams a read.
 */
import type { Sql } from "./client.ts";
import { OFFICE, type Roster, takeOffice } from "./office.ts";

/**
 * Under much traffic each poll is a statement that writers wait for the processor for, and many envelopes share one NOTIFY;
 * under little what was left waits for no longer than a frame takes anyway.
 */
const BUSY_POLL_MS = 20;
const QUIET_POLL_MS = 5;
/** More than that in one poll is much. */
const BUSY_TAKEN = 10;
/** How long after the last NOTIFY it goes on polling: a writer may commit that much later than the one it yielded to. */
const LINGER_MS = 2_000;
/** Dead rows make each poll slower; autovacuum comes by once a minute at best. */
const VACUUM_AFTER = 20_000;

export interface Relay {
  /** To be run on the LISTEN connection every few seconds: takes the office where it is free, and relays. */
  beat(connection: Sql, roster: Roster): Promise<unknown>;
  /** A NOTIFY was heard: others may have been held back. */
  noticed(): void;
  /** The LISTEN connection is gone, and the office with it. */
  lost(): void;
  readonly elected: boolean;
  stop(): Promise<void>;
}

export function createRelay(sql: Sql, failed: (error: unknown) => void): Relay {
  let elected = false;
  let heardAt = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let running: Promise<void> | undefined;
  let sinceVacuum = 0;
  let isBusy = false;
  let stopped = false;

  async function poll(): Promise<void> {
    try {
      const [row] = await sql<{ taken: number }[]>`select tidings.relay() as taken`;
      sinceVacuum += row!.taken;
      // from 1,000 a second on it is busy, until there are fewer than 500
      isBusy = row!.taken > (isBusy ? BUSY_TAKEN : BUSY_TAKEN / 2);
      if (sinceVacuum > VACUUM_AFTER) {
        sinceVacuum = 0;
        await sql`vacuum (skip_locked) tidings.unannounced`;
      }
    } catch (error) {
      failed(error);
    }
  }

  function schedule(): void {
    if (timer || running || stopped || !elected) return;
    timer = setTimeout(
      () => {
        timer = undefined;
        running = poll().finally(() => {
          running = undefined;
          if (performance.now() - heardAt < LINGER_MS) schedule();
        });
      },
      isBusy ? BUSY_POLL_MS : QUIET_POLL_MS,
    );
  }

  return {
    async beat(connection, roster) {
      if (elected) return connection`select tidings.relay()`;
      elected = await takeOffice(connection, OFFICE.relay, roster);
    },
    noticed() {
      heardAt = performance.now();
      schedule();
    },
    lost() {
      elected = false;
    },
    get elected() {
      return elected;
    },
    async stop() {
      stopped = true;
      clearTimeout(timer);
      await running;
    },
  };
}
