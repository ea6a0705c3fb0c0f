/**
 * How an instance hears of new entries, behind one interface: by NOTIFY from the writers (here), by NOTIFY from who reads
 * the WAL, over a bus.
 */
import type { Sql } from "../db/client.ts";
import type { Claims } from "./claims.ts";
import type { FeedOptions } from "./feed.ts";

export interface WayOptions extends Omit<FeedOptions, "changed" | "sweep"> {
  readonly claims: Claims;
  /** The LISTEN connection, or one of the pool while there is none. */
  connection(): Sql;
  /** Something may have been missed: look into the tables. */
  swept(): void;
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
  /** Whether a NOTIFY is a sign that writers may have left envelopes to the relay: not where it is the relay's own. */
  readonly relays: boolean;
  /** The text of a NOTIFY. */
  notified(text: string): void;
  /** On the LISTEN connection, every heartbeat; `isRelay`: this instance holds the relay's office. */
  beat(connection: Sql, isRelay: boolean): Promise<void>;
  /** The LISTEN connection is gone. */
  lost(): void;
  follow(group: string, isWanted: boolean): void;
  followed(): Promise<void> | undefined;
  /** NOTIFY was silent for a while: whoever hears by this instance may have missed something. */
  missed(): void;
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
    relays: true,
    notified: heard,
    async start() {
      claims.plays("hears");
    },
    async stop() {},
    async beat() {},
  };
}
