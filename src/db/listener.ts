/**
 * The LISTEN connection: one of its own, watched by a heartbeat, made anew whenever it is lost. A half-open socket is
 * noticed within `beatMs + beatTimeoutMs`, a terminated backend at once. There are never two connections at a time, and
 * no timer is left after `stop()`. What was notified while it was down is gone: `onUp` is the cue to read the tables.
 */
import { backoff } from "../backoff.ts";
import { describe, TidingsError } from "../errors.ts";
import type { Sql } from "./client.ts";
import { sleep } from "./deadline.ts";
import { holdSession } from "./session.ts";

export interface ListenerOptions {
  /** A direct connection: LISTEN does not work through a pooler in transaction mode. */
  url: string;
  channel: string;
  /** A notification on `channel`. */
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

/** Waits between tries. Jittered from 0: of many instances that lost one server, some are back at once. */
const RETRY = { baseMs: 200, capMs: 5_000 };
/** Authorization, password, no such database, privilege; what TLS says of a certificate; an address that is none. */
const PERMANENT =
  /^(28000|28P01|3D000|42501|SASL_SIGNATURE_MISMATCH|ERR_TLS_CERT\w*|CERT_HAS_EXPIRED|\w*SELF_SIGNED\w*|UNABLE_TO_VERIFY\w*|ERR_INVALID_URL)$/;

function createReadiness(): { promise: Promise<void>; resolve(): void; reject(error: Error): void } {
  let settle: [() => void, (error: Error) => void] | undefined;
  const promise = new Promise<void>((resolve, reject) => {
    settle = [resolve, reject];
  });
  // Whoever has called start() holds the promise itself; nobody else is to be bothered.
  promise.catch(() => {});
  return { promise, resolve: () => settle?.[0](), reject: (error) => settle?.[1](error) };
}

/** Runs callbacks of the owner: what they throw is reported, and never reaches the connection. */
function createGuard(options: ListenerOptions): { call(callback: () => void): void; report(thrown: unknown): void } {
  const report = (thrown: unknown): void => {
    try {
      options.onError?.(thrown instanceof Error ? thrown : new Error(String(thrown)));
    } catch {
      // Nobody is left to tell.
    }
  };
  const call = (callback: () => void): void => {
    try {
      callback();
    } catch (error) {
      report(error);
    }
  };
  return { call, report };
}

/**
 * Ends the backend of the connection before. To Postgres a half-open one is alive for hours: it would keep its session
 * locks, and what it does not read would fill the NOTIFY queue.
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
    } catch (error) {
      report(error);
    }
  };
}

/** Makes a listener that is not started yet. It has one life: stopped, it does not start again. */
export function createListener(options: ListenerOptions): Listener {
  const { beatMs = 5_000, beatTimeoutMs = 5_000, url, channel } = options;
  const { call, report } = createGuard(options);
  const retry = backoff(RETRY);
  const stopping = new AbortController();
  const ready = createReadiness();
  let live: Sql | null = null;
  let everUp = false;
  let isTold = false;
  let loop: Promise<void> | undefined;

  const down = (reason: Error): void => {
    live = null;
    if (isTold || stopping.signal.aborted) return;
    isTold = true;
    call(() => options.onDown(reason));
  };
  const session = {
    ...{ url, channel, beatMs, beatTimeoutMs, signal: stopping.signal, onError: report, onDown: down },
    onPayload: (payload: string) => call(() => options.onPayload(payload)),
    succeed: createSuccession(report),
    onUp(sql: Sql): void {
      live = sql;
      everUp = true;
      isTold = false;
      call(() => options.onUp());
      ready.resolve();
    },
    beat: async (sql: Sql) => options.beat(sql),
    // Not when it is up: a server that accepts and drops at once is to be tried ever less often.
    onAlive: () => retry.reset(),
  };
  const keep = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      try {
        await holdSession(session);
      } catch (error) {
        if (stopping.signal.aborted) break;
        report(error);
        const { code } = error as { code?: unknown };
        if (!everUp && PERMANENT.test(String(code))) {
          const text = `Listening to Postgres is not possible: ${describe(error)}. Correct DATABASE_URL (or LISTEN_URL).`;
          return ready.reject(new TidingsError("configuration", text, { cause: error }));
        }
        down(error instanceof Error ? error : new Error(String(error)));
      }
      await sleep(retry.next(), stopping.signal);
    }
  };

  return {
    get up() {
      return live !== null;
    },
    get sql() {
      return live;
    },
    start() {
      if (!stopping.signal.aborted) loop ??= keep();
      return ready.promise;
    },
    async stop() {
      live = null;
      const reason = new TidingsError("unavailable", "The listener was stopped.");
      stopping.abort(reason);
      await loop;
      ready.reject(reason);
    },
  };
}
