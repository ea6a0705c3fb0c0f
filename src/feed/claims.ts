/**
 * What this instance tells the others about NOTIFY, by offices on its LISTEN connection (db/office.ts). Who hears by
 * NOTIFY holds `needsNotify`. Who reads the WAL takes `walFed`, by which writers stop announcing: the one that announces
 * for them (FEED=wal) at once, the relay of a bus only while nobody hears by NOTIFY. So feeds can be mixed and switched
 * one instance at a time, and a feed that fails falls back.
 *
 * Whoever hears by NOTIFY looks into the tables when somebody else announces than did a heartbeat ago, and again and again
 * while nobody announces: until the relay of a bus has given `walFed` back, at its next heartbeat, or while the one that
 * announces is there and does not run.
 */
import type { Sql } from "../db/client.ts";
import {
  isAbsent,
  leaveOffice,
  look,
  OFFICE,
  type Roster,
  shareOffice,
  takeOffice,
  unshareOffice,
} from "../db/office.ts";
import { atMost } from "../deadline.ts";

/**
 * What this instance does just now: hears by NOTIFY; does so and announces what it reads from the WAL; publishes to a bus
 * what it reads from the WAL; or hears by a bus.
 */
export type Role = "hears" | "announces" | "publishes" | "apart";

export interface Claims {
  /** A new LISTEN connection: what was claimed on the one before went with it. */
  connected(connection: Sql): Promise<void>;
  lost(): void;
  plays(role: Role): void;
  /** Every heartbeat: gives way to those who depend on NOTIFY, or takes over from one that is gone. */
  beat(roster: Roster): Promise<void>;
  /** Gives back what is held, so that writers announce again before the others find out. */
  stop(): Promise<void>;
}

export interface ClaimsOptions {
  /** Something may not have been announced to this instance: read the tables. */
  catchUp(): void;
  failed(error: unknown): void;
}

const WRITERS = 0;
const NOBODY = -1;
const SILENT_MS = 500;
/** The longest that a commit which counted on another announcer is expected to take. */
const LATE_MS = 2_000;
const LEAVE_MS = 1_000;

export function createClaims({ catchUp, failed }: ClaimsOptions): Claims {
  let connection: Sql | null = null;
  let role: Role = "apart";
  /** Of `walFed` and `needsNotify`, what is held; and on which connection: it goes with it. */
  let [isFeeding, isHearing] = [false, false];
  let heldOn: Sql | null = null;
  /** Who announces: the pid of a relay, WRITERS or NOBODY; undefined before the first look. */
  let announcer: number | undefined;
  let isStopped = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let settling: Promise<void> = Promise.resolve();

  async function settle(on: Sql, seen?: Roster): Promise<void> {
    const needs = role === "hears" || role === "announces";
    if (role !== "announces" && role !== "publishes") await give(on);
    if (isHearing !== needs) {
      await (needs ? shareOffice : unshareOffice)(on, OFFICE.needsNotify);
      isHearing = needs;
    }
    const roster = seen ?? (await look(on));
    if (role === "publishes" && roster.needsNotify) await give(on);
    else if (role === "announces" || role === "publishes") await take(on, roster);
    if (needs) watch(on, roster);
  }

  function watch(on: Sql, { holders }: Roster): void {
    const { [OFFICE.walFed]: silencer, [OFFICE.announcing]: relay } = holders;
    const isAtWork = relay !== undefined && !isAbsent(relay) && !isAbsent(silencer);
    const now = !silencer ? WRITERS : isAtWork ? relay.pid : NOBODY;
    const isNews = announcer !== undefined && now !== announcer;
    announcer = now;
    if (!isNews && now !== NOBODY) return;
    catchUp();
    clearTimeout(timer);
    if (connection !== on) return;
    // once more, for those who were committing just then
    timer = now === NOBODY ? setTimeout(() => void settleSoon(), SILENT_MS) : setTimeout(catchUp, LATE_MS);
  }

  async function take(on: Sql, roster: Roster): Promise<void> {
    isFeeding ||= await takeOffice(on, OFFICE.walFed, roster);
  }

  async function give(on: Sql): Promise<void> {
    if (!isFeeding) return;
    await leaveOffice(on, OFFICE.walFed);
    isFeeding = false;
  }

  /** One at a time: each looks at what is wanted by then. */
  function settleSoon(seen?: Roster): Promise<void> {
    settling = settling.then(async () => {
      const on = connection;
      if (!on) return;
      if (on !== heldOn) {
        heldOn = on;
        [isFeeding, isHearing] = [false, false];
      }
      try {
        await settle(on, seen);
      } catch (error) {
        if (connection === on) failed(error);
      }
    });
    return settling;
  }

  return {
    connected(fresh) {
      connection = fresh;
      return settleSoon();
    },
    lost() {
      connection = null;
    },
    plays(wanted) {
      if (wanted === role || isStopped) return;
      role = wanted;
      void settleSoon();
    },
    beat: settleSoon,
    async stop() {
      isStopped = true;
      role = "apart";
      await atMost(LEAVE_MS, settleSoon());
      connection = null;
      clearTimeout(timer);
    },
  };
}
