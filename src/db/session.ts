/**
 * One LISTEN connection from its first packet to its end: listens, beats, and says why it ended. Trying again is the
 * listener's part.
 */

import { sleep, within } from "../deadline.ts";
import { TidingsError } from "../errors.ts";
import { asError } from "../keeper.ts";
import type { Sql } from "./client.ts";
import { openSingle } from "./single.ts";

export interface SessionOptions {
  url: string;
  channel: string | null;
  beatMs: number;
  beatTimeoutMs: number;
  /** Aborted: the session ends, politely when it is up. */
  signal: AbortSignal;
  onPayload(payload: string): void;
  /** Runs once LISTEN is answered, before `onUp`. */
  succeed(sql: Sql): Promise<void>;
  onUp(sql: Sql): void;
  /** The session was up and is over; called before its connection is closed. */
  onDown(reason: Error): void;
  beat(sql: Sql): Promise<unknown>;
  /** A beat was answered. */
  onAlive(): void;
  onError(error: unknown): void;
}

/** Milliseconds from the first packet until LISTEN must be answered. */
const OPEN_MS = 15_000;
const LEAVE_MS = 1_000;

/** Asks the server every `beatMs`; returns when it did not answer in time or `life` is over. */
async function keepBeating(sql: Sql, options: SessionOptions, life: AbortSignal): Promise<Error> {
  const late = `Postgres did not answer on the LISTEN connection within ${options.beatTimeoutMs} ms.`;
  const ask = async (): Promise<void> => {
    try {
      await options.beat(sql);
    } catch (error) {
      if (life.aborted) return;
      options.onError(error);
      // The beat has failed, which says nothing of the connection: a mistake in its SQL is no reason to reconnect.
      await sql`select 1`;
    }
  };
  for (;;) {
    await sleep(options.beatMs, life);
    if (life.aborted) return asError(life.reason);
    try {
      await within(ask(), options.beatTimeoutMs, late, life);
      options.onAlive();
    } catch (error) {
      return asError(error);
    }
  }
}

/** Resolves when a session that was up is over. Rejects when LISTEN could not be established, with the reason. */
export async function holdSession(options: SessionOptions): Promise<void> {
  const { signal } = options;
  const life = new AbortController();
  const stop = (): void => life.abort(signal.reason);
  signal.addEventListener("abort", stop);
  const single = openSingle(options.url, {
    name: "listener",
    onNotify: (_channel, payload) => options.onPayload(payload),
    onClose: () => life.abort(new TidingsError("unavailable", "Postgres closed the LISTEN connection.")),
  });
  let up = false;
  try {
    if (signal.aborted) throw signal.reason;
    const first = options.channel === null ? "select 1" : `listen "${options.channel.replaceAll('"', '""')}"`;
    await within(single.sql.unsafe(first), OPEN_MS, "Postgres did not answer in 15 s.", life.signal);
    await within(options.succeed(single.sql), OPEN_MS, "Postgres did not answer in 15 s.", life.signal);
    up = true;
    options.onUp(single.sql);
    options.onDown(await keepBeating(single.sql, options, life.signal));
  } finally {
    signal.removeEventListener("abort", stop);
    await (up && signal.aborted ? single.leave(LEAVE_MS) : single.cut());
  }
}
