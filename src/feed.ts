/**
 * What keeps streams informed: the LISTEN connection, the relay that announces for busy writers, the lock by which
 * other instances see that this one lives, and the sweep that finds whatever an announcement was lost for.
 * A feed only ever wakes: losing any of it costs a read, never an entry.
 */
import { backoff, jitter } from "./backoff.ts";
import type { Sql } from "./db/client.ts";
import { createListener } from "./db/listener.ts";
import { createRelay, type Relay } from "./db/relay.ts";
import type { ServiceLog } from "./log.ts";
import { PRESENCE_LOCK } from "./worker/presence.ts";

export interface FeedOptions {
  readonly sql: Sql;
  /** A direct connection string for LISTEN. */
  readonly listenUrl: string;
  readonly log: ServiceLog;
  /** The number of this instance among the others. */
  readonly instance: number;
  /** Milliseconds between sweeps, from and to. */
  readonly sweepMs: readonly [number, number];
  /** The heartbeat of the LISTEN connection, as ListenerOptions has it. */
  readonly beatMs?: number | undefined;
  readonly beatTimeoutMs?: number | undefined;
  /** The text of a NOTIFY. */
  heard(text: string): void;
  /** Looks for entries, revocations and memberships whose announcement was lost. A rejection has it tried again soon. */
  sweep(): Promise<void>;
  /** LISTEN came up, or went down. */
  changed(up: boolean): void;
}

export interface Feed {
  /** Resolves once LISTEN is up and this instance is known to live. */
  start(): Promise<void>;
  stop(): Promise<void>;
  readonly up: boolean;
  /** When LISTEN came up, epoch milliseconds; null while it is down. */
  readonly since: number | null;
  /** Whether the chores of the cluster are this instance's. */
  readonly elected: boolean;
}

export function createFeed(options: FeedOptions): Feed {
  const { sql, log, instance, heard, sweep, changed } = options;
  const relay: Relay = createRelay(sql, (error) => log.warn({ err: error }, "relaying failed; tried again"));
  const retry = backoff({ baseMs: 500, capMs: 5_000 });
  let since: number | null = null;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let isStopped = false;
  const listener = createListener({
    url: options.listenUrl,
    channel: "tidings",
    beatMs: options.beatMs,
    beatTimeoutMs: options.beatTimeoutMs,
    onPayload(text) {
      relay.noticed();
      heard(text);
    },
    onUp: () => void up(),
    onDown(error) {
      since = null;
      relay.lost();
      changed(false);
      log.warn({ err: error }, "LISTEN is down; streams stay open and catch up when it is back");
    },
    beat: (connection) => relay.beat(connection),
  });

  async function up(): Promise<void> {
    since = Date.now();
    await holdPresence();
    changed(true);
    await sweepNow();
  }

  /** Lost with the LISTEN connection, which is what tells the others. */
  async function holdPresence(): Promise<void> {
    try {
      const { sql: connection } = listener;
      if (connection) await connection`select pg_try_advisory_lock(${PRESENCE_LOCK}, ${instance})`;
    } catch (error) {
      log.warn({ err: error }, "this instance could not be marked as living; tried again with the next connection");
    }
  }

  /** Sweeps now and from then on; sooner after one that failed, for the database comes back after LISTEN does. */
  async function sweepNow(): Promise<void> {
    clearTimeout(timer);
    let nextMs = jitter(...options.sweepMs);
    try {
      await sweep();
      retry.reset();
    } catch (error) {
      nextMs = 100 + retry.next();
      log.warn({ err: error }, "looking for lost announcements failed; tried again soon");
    }
    clearTimeout(timer);
    if (!isStopped) timer = setTimeout(() => void sweepNow(), nextMs);
  }

  return {
    async start() {
      await listener.start();
      await holdPresence();
    },
    async stop() {
      isStopped = true;
      clearTimeout(timer);
      await Promise.all([relay.stop(), listener.stop()]);
    },
    get up() {
      return listener.up;
    },
    get since() {
      return since;
    },
    get elected() {
      return relay.elected;
    },
  };
}
