/**
 * What this instance tells the writers about NOTIFY, by two offices on its LISTEN connection (db/office.ts). Who depends
 * on NOTIFY holds `needsNotify`; who reads the WAL takes `walFed`, by which writers stop announcing, but only while
 * nobody depends on NOTIFY. So feeds can be mixed and switched one instance at a time, and a feed that fails falls back.
 *
 * Whoever comes to depend on NOTIFY while it is silenced looks into the tables until the other has given way: at most
 * one heartbeat of that one.
 */
import type { Sql } from "../db/client.ts";
import { isShared, isTaken, leaveOffice, OFFICE, shareOffice, takeOffice, unshareOffice } from "../db/office.ts";

/** How this instance hears of new entries just now: by NOTIFY, from the WAL, or from another instance. */
export type Way = "notify" | "wal" | "bus";

export interface Claims {
  /** A new LISTEN connection: what was claimed on the one before went with it. */
  connected(connection: Sql): Promise<void>;
  lost(): void;
  hearsBy(way: Way): void;
  /** Every few seconds: gives way to those who depend on NOTIFY, or takes over from one that is gone. */
  beat(): Promise<void>;
  stop(): void;
}

export interface ClaimsOptions {
  /** NOTIFY may be silent though this instance depends on it: read the tables. */
  catchUp(): void;
  failed(error: unknown): void;
}

const CATCH_UP_MS = 500;
/** The longest that a commit which found NOTIFY silenced is expected to take. */
const LATE_MS = 2_000;

export function createClaims({ catchUp, failed }: ClaimsOptions): Claims {
  let connection: Sql | null = null;
  let way: Way = "bus";
  let isNeeding = false;
  let isFed = false;
  let wasSilent = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let settling: Promise<void> = Promise.resolve();

  async function settle(on: Sql): Promise<void> {
    if (way !== "wal" && isFed) {
      await giveWay(on);
      wasSilent = true;
    }
    if (isNeeding !== (way === "notify")) {
      await (isNeeding ? unshareOffice : shareOffice)(on, OFFICE.needsNotify);
      isNeeding = !isNeeding;
    }
    if (way === "wal") await weigh(on);
    if (way === "notify") await awaitNotify(on);
  }

  /** Twice more after the silence is over: for those who were committing just then, and may take a while to. */
  async function awaitNotify(on: Sql): Promise<void> {
    const isSilent = await isTaken(on, OFFICE.walFed);
    if (!isSilent && !wasSilent) return;
    catchUp();
    clearTimeout(timer);
    if (connection === on) timer = setTimeout(isSilent ? settleSoon : catchUp, isSilent ? CATCH_UP_MS : LATE_MS);
    wasSilent = isSilent;
  }

  async function weigh(on: Sql): Promise<void> {
    const others = await isShared(on, OFFICE.needsNotify);
    if (others && isFed) await giveWay(on);
    if (!others && !isFed) isFed = await takeOffice(on, OFFICE.walFed);
  }

  async function giveWay(on: Sql): Promise<void> {
    await leaveOffice(on, OFFICE.walFed);
    isFed = false;
  }

  /** One at a time: each looks at what is wanted by then. */
  function settleSoon(): Promise<void> {
    settling = settling.then(async () => {
      const on = connection;
      if (!on) return;
      try {
        await settle(on);
      } catch (error) {
        if (connection === on) failed(error);
      }
    });
    return settling;
  }

  return {
    connected(fresh) {
      connection = fresh;
      isNeeding = isFed = false;
      return settleSoon();
    },
    lost() {
      connection = null;
    },
    hearsBy(wanted) {
      if (wanted === way) return;
      way = wanted;
      void settleSoon();
    },
    beat: settleSoon,
    stop() {
      connection = null;
      clearTimeout(timer);
    },
  };
}
