/**
 * How an instance hears of new entries, behind one interface: by NOTIFY from the writers (here), by NOTIFY from who reads
 * the WAL, over a bus.
 */
import type { Sql } from "../db/client.ts";
import type { Roster } from "../db/office.ts";
import { TidingsError } from "../errors.ts";
import type { Claims } from "./claims.ts";
import type { FeedOptions } from "./feed.ts";
import type { Sweeper } from "./sweeper.ts";

export interface WayOptions extends Omit<FeedOptions, "changed" | "sweep"> {
  readonly claims: Claims;
  /** The LISTEN connection, with what is held on it; null while there is none. */
  connection(): Sql | null;
  /** Looks into the tables, where something may have been missed. */
  readonly sweeper: Pick<Sweeper, "now" | "soon">;
  /** `up` may be another. */
  changed(): void;
}

export interface Way {
  /** Resolves once it hears. Rejects with TidingsError "configuration" where it never can. */
  start(): Promise<void>;
  stop(): Promise<void>;
  readonly up: boolean;
  /** For metrics. */
  readonly parts: Readonly<Record<string, boolean>>;
  /** Whether this instance hears NOTIFY. */
  readonly listens: boolean;
  /** The text of a NOTIFY. */
  notified(text: string): void;
  /** On the LISTEN connection, every heartbeat. */
  beat(connection: Sql, roster: Roster): Promise<void>;
  /** The LISTEN connection is gone. */
  lost(): void;
  follow(group: string, isWanted: boolean): void;
  followed(): Promise<void> | undefined;
  /** NOTIFY was silent for a while: whoever hears by this instance may have missed something. */
  missed(): void;
}

/**
 * What speaks for all is said on the LISTEN connection alone: whoever lost its offices with it is not heard any more.
 * @throws TidingsError "unavailable" while there is none
 */
export function alive(connection: WayOptions["connection"]): Sql {
  const live = connection();
  if (!live) throw new TidingsError("unavailable", "LISTEN is down.");
  return live;
}

/** Ways of no bus: all instances hear NOTIFY. */
export const LISTENING = {
  up: true,
  listens: true,
  lost(): void {},
  follow(): void {},
  followed: (): undefined => undefined,
  missed(): void {},
};

export function notifyWay({ claims, heard }: WayOptions): Way {
  return {
    ...LISTENING,
    parts: {},
    notified: heard,
    async start() {
      claims.plays("hears");
    },
    async stop() {},
    async beat() {},
  };
}
