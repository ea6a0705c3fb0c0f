/**
 * The LISTEN connection: one of its own, watched by a heartbeat, made anew whenever it is lost. A half-open socket is
 * noticed within `beatMs + beatTimeoutMs`, a terminated backend at once. There are never two connections at a time, and
 * no timer is left after `stop()`. What was notified while it was down is gone: `onUp` is the cue to read the tables.
 */
import { asError, createKeeper, type Keeper } from "../keeper.ts";
import type { Sql } from "./client.ts";
import { mistakeOf } from "./mistake.ts";
import { holdSession } from "./session.ts";

export interface ListenerOptions {
  /** A direct connection: LISTEN does not work through a pooler in transaction mode. */
  url: string;
  /** What to LISTEN on; null: nothing, for the connection's session locks alone. `listen` may be said on it later. */
  channel: string | null;
  /** A notification on any channel that is listened on. */
  onPayload(payload: string): void;
  /** Each time LISTEN is established or re-established. */
  onUp(): void;
  /** Once per outage: when the connection is lost, or at first cannot be made. Not called by `stop()`. */
  onDown(error: Error): void;
  /** Runs on the same connection every `beatMs`. One that the server answers with an error does not end the connection. */
  beat(sql: Sql): Promise<unknown>;
  /** Each failed attempt to connect, each failed beat, each callback that threw. Default: ignored. */
  onError?(error: Error): void;
  /** Milliseconds from the end of one beat to the next. Default 5000. */
  beatMs?: number | undefined;
  /** Milliseconds a beat may take. Default 5000. */
  beatTimeoutMs?: number | undefined;
}

export interface Listener {
  /** LISTEN is established, as far as known. */
  readonly up: boolean;
  /** The live connection, for session locks; null while there is none. What was locked on it is lost with it. */
  readonly sql: Sql | null;
  /**
   * Resolves once LISTEN is up, and keeps trying until then. Rejects on a mistake that trying again does not cure
   * (TidingsError "configuration": credentials, no such database, certificate), and when stopped before it is up.
   */
  start(): Promise<void>;
  /** Ends the connection and all tries. Never rejects; safe in any order and more than once. */
  stop(): Promise<void>;
}

/** Postgres' side of a connection whose other side is gone without a word ends within 15 s. */
const KEEPALIVE = [
  ["tcp_keepalives_idle", "5"],
  ["tcp_keepalives_interval", "3"],
  ["tcp_keepalives_count", "3"],
  ["tcp_user_timeout", "15000"],
];

/**
 * Ends the backend of the connection before, and has Postgres look after this one itself. A half-open one would be alive
 * to it for hours: it would keep its session locks, and what it does not read would fill the NOTIFY queue.
 */
function createSuccession(report: (thrown: unknown) => void): (sql: Sql) => Promise<void> {
  let last = { pid: 0, started: "" };
  return async (sql) => {
    try {
      const [row] = await sql<(typeof last)[]>`
        select pid, extract(epoch from backend_start)::text as started, (
          select pg_terminate_backend(old.pid) from pg_stat_activity old
          where old.pid = ${last.pid}::int and extract(epoch from old.backend_start)::text = ${last.started}) as ended
        from pg_stat_activity where pid = pg_backend_pid()`;
      if (row) last = { pid: row.pid, started: row.started };
      await sql`select set_config(name, value, false) from (values ${sql(KEEPALIVE)}) setting (name, value)`;
    } catch (error) {
      report(error);
    }
  };
}

/** Makes a listener that is not started yet. It has one life: stopped, it does not start again. */
export function createListener(options: ListenerOptions): Listener {
  const { beatMs = 5_000, beatTimeoutMs = 5_000, url, channel } = options;
  let live: Sql | null = null;
  const succeed = createSuccession((thrown) => options.onError?.(asError(thrown)));
  const keeper: Keeper = createKeeper({
    hold: (life) =>
      holdSession({
        ...life,
        ...{ url, channel, beatMs, beatTimeoutMs },
        onPayload: (payload) => keeper.call(() => options.onPayload(payload)),
        succeed,
        onUp(sql) {
          live = sql;
          life.onUp();
        },
        onDown(reason) {
          live = null;
          life.onDown(reason);
        },
        beat: async (sql) => options.beat(sql),
      }),
    onUp: () => options.onUp(),
    onDown: (error) => options.onDown(error),
    onError: options.onError,
    mistake: (error) =>
      mistakeOf(error, (why) => `Listening to Postgres is not possible: ${why}. Correct DATABASE_URL (or LISTEN_URL).`),
  });
  return {
    get up() {
      return live !== null;
    },
    get sql() {
      return live;
    },
    start: keeper.start,
    stop() {
      live = null;
      return keeper.stop();
    },
  };
}
