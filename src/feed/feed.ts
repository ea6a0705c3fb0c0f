/**
 * What keeps streams informed (FEED): NOTIFY, the WAL, or a bus that one instance feeds; and, on the LISTEN connection
 * that each of them has, the relay for busy writers, the lock by which others see that this instance lives, and the
 * sweep. A feed only ever wakes: losing any of it costs a read, never an entry.
 */
import type { Sql } from "../db/client.ts";
import { createListener } from "../db/listener.ts";
import { endAbsent, look } from "../db/office.ts";
import { createRelay, type Relay } from "../db/relay.ts";
import { atMost } from "../deadline.ts";
import type { ServiceLog } from "../log.ts";
import { PRESENCE_LOCK } from "../worker/presence.ts";
import { isFromWal } from "./announcer.ts";
import { busWay } from "./bus_way.ts";
import { createClaims } from "./claims.ts";
import { SWEEP } from "./ear.ts";
import { createSweeper } from "./sweeper.ts";
import { walWay } from "./wal_way.ts";
import { notifyWay, type Way } from "./way.ts";

export interface FeedOptions {
  readonly kind: "notify" | "wal" | "bus";
  /** For `bus`. */
  readonly busUrl: string | undefined;
  readonly sql: Sql;
  /** A direct connection string for LISTEN and the WAL. */
  readonly listenUrl: string;
  readonly log: ServiceLog;
  /** The number of this instance among the others. */
  readonly instance: number;
  /** Milliseconds between sweeps, from and to. */
  readonly sweepMs: readonly [number, number];
  /** The heartbeat of the LISTEN connection, as ListenerOptions has it. */
  readonly beatMs?: number | undefined;
  readonly beatTimeoutMs?: number | undefined;
  /** Envelopes: the text of a NOTIFY. */
  heard(text: string): void;
  /** The text of a message of the bus. */
  relayed(text: string): void;
  /** Looks for entries, revocations and memberships whose announcement was lost. A rejection has it tried again soon. */
  sweep(): Promise<void>;
  /** All that this feed hears by came up, or some of it went down. */
  changed(up: boolean): void;
}

export interface Feed {
  /** Resolves once entries are heard of and this instance is known to live. */
  start(): Promise<void>;
  stop(): Promise<void>;
  readonly up: boolean;
  /** When it came up, epoch milliseconds; null while it is down. */
  readonly since: number | null;
  /** What it hears by, and whether that is up. */
  readonly parts: Readonly<Record<string, boolean>>;
  /** Whether the chores of the cluster are this instance's. */
  readonly elected: boolean;
  /** The first stream on a group opened here, or the last one closed. */
  follow(group: string, isWanted: boolean): void;
  /** Resolves when all that is followed by now is heard; undefined where everything always is. */
  followed(): Promise<void> | undefined;
}

/** An instance that reads the WAL for others is to be replaced within two seconds when it dies. */
const BEAT_MS = 1_000;
/** How long a stop waits for what is still to be handed on. */
const LEAVE_MS = 3_000;
/** While the bus is away the sweep is all that finds new entries. */
const OUTAGE_SWEEP_MS = [1_000, 2_000] as const;

export function createFeed(options: FeedOptions): Feed {
  const { kind, sql, log, instance } = options;
  const warned = (text: string) => (error: unknown) => log.warn({ err: error }, text);
  const relay: Relay = createRelay(sql, warned("relaying failed; tried again"));
  const sweeper = createSweeper(
    options.sweep,
    () => (way.up ? options.sweepMs : OUTAGE_SWEEP_MS),
    warned("looking for lost announcements failed; tried again soon"),
  );
  const claims = createClaims({
    catchUp() {
      sweeper.now();
      way.missed();
    },
    failed: warned("what this instance hears by was not told; tried again"),
  });
  let since: number | null = null;
  let isStopped = false;
  let holding: Promise<void> | undefined;
  let beating: Promise<void> | undefined;
  const way: Way = { notify: notifyWay, wal: walWay, bus: busWay }[kind]({
    ...options,
    claims,
    sweeper,
    connection: () => listener.sql,
    changed: () => weigh(),
  });
  const listener = createListener({
    url: options.listenUrl,
    channel: kind === "bus" ? null : "tidings",
    beatMs: options.beatMs ?? (kind === "notify" ? undefined : BEAT_MS),
    beatTimeoutMs: options.beatTimeoutMs,
    onPayload(text) {
      // a writer that notifies may have kept others from it
      if (!isFromWal(text)) relay.noticed();
      if (text !== SWEEP) return way.notified(text);
      sweeper.soon();
      way.missed();
    },
    onUp() {
      holding = hold(listener.sql!);
      weigh();
      sweeper.now();
    },
    onError: (error) => log.debug?.({ err: error }, "the LISTEN connection"),
    onDown(error) {
      relay.lost();
      claims.lost();
      way.lost();
      weigh();
      log.warn({ err: error }, "LISTEN is down; streams stay open and catch up when it is back");
    },
    beat,
  });

  /** One at a time, for it asks for what it then takes. */
  function beat(connection: Sql): Promise<void> {
    beating ??= beatOnce(connection).finally(() => {
      beating = undefined;
    });
    return beating;
  }

  async function beatOnce(connection: Sql): Promise<void> {
    const roster = await look(connection);
    // who relays must hear that there is something to relay
    if (way.listens) await relay.beat(connection, roster);
    await way.beat(connection, roster);
    await claims.beat(roster);
    await endAbsent(connection, roster).catch(warned("an instance that does not run was not put out of office"));
  }

  /** Lost with the LISTEN connection, which is what tells the others that this instance lives no more. */
  async function hold(connection: Sql): Promise<void> {
    try {
      await connection`select pg_try_advisory_lock(${PRESENCE_LOCK}, ${instance})`;
      await claims.connected(connection);
    } catch (error) {
      warned("this instance could not be marked as living; tried again with the next connection")(error);
    }
  }

  function weigh(): void {
    const up = listener.up && way.up && !isStopped;
    if (up === (since !== null)) return;
    since = up ? Date.now() : null;
    options.changed(up);
  }

  return {
    async start() {
      await listener.start();
      await holding;
      if (!isStopped) await way.start();
      if (listener.sql) await beat(listener.sql);
      weigh();
    },
    async stop() {
      isStopped = true;
      sweeper.stop();
      await claims.stop();
      const leaving = way.stop();
      await atMost(LEAVE_MS, leaving);
      await Promise.all([relay.stop(), listener.stop()]);
      // what it waited for is gone with the connection
      await atMost(LEAVE_MS, leaving);
    },
    get up() {
      return listener.up && way.up;
    },
    get since() {
      return since;
    },
    get parts() {
      return { listen: listener.up, ...way.parts };
    },
    get elected() {
      return relay.elected;
    },
    follow: (group, isWanted) => way.follow(group, isWanted),
    followed: () => way.followed(),
  };
}
