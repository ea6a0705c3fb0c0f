/**
 * What a scenario measures: a server with its own database, how the load opens streams on it, and how rows and
 * transient messages are published to it, each the way its users would.
 */
import type postgres from "postgres";
import type { StreamKind, Target } from "./load_process.ts";
import type { Probe } from "./probe.ts";
import type { Child } from "./rpc.ts";
import type { Order, Rows, Sent, WriterHandlers, Written } from "./writer_process.ts";

export interface Database {
  readonly url: string;
  readonly sql: postgres.Sql;
}

/** A server under measurement. */
export interface Server {
  readonly name: string;
  readonly url: string;
  readonly database: Database;
  readonly probe: Probe;
  /** Where a user's stream is opened; `query` without its question mark. */
  targets(users: readonly number[], path?: string, query?: string): Promise<Target[]>;
}

/** A server that is published to like all the others. */
export interface Contender extends Server {
  /** What it loses is its own affair. */
  readonly rival: boolean;
  /** How the load opens its sockets. */
  readonly kind: StreamKind;
  /** Rows in transactions of their own, each to be heard by its user. */
  write(rows: Rows): Promise<Written>;
  /** Rows `from` to `from + count - 1` in one statement, each to be heard by its user. */
  burst(rows: { readonly from: number; readonly count: number; readonly users: number }): Promise<Sent>;
  /** One row for each of the users 1 to `recipients`, all of them to hear `n`. */
  broadcast(order: Order): Promise<Sent>;
  /** One transient message to all sockets of user 1 (Tidings: of room 1). */
  shout(n: number): Promise<Sent>;
}

/** What the makers of servers are handed. */
export interface Workshop {
  /** Called in reverse order when the scenario is over, or at once where it is over already. */
  undo(one: () => Promise<unknown> | unknown): void;
  /** The writers, shared by all contenders of a scenario: they take turns. */
  readonly writing: () => Child<WriterHandlers>;
}

/** After how long a silence what is not there is lost: Tidings may still read it, the others only ever send it once. */
export function patience({ kind }: Contender): number {
  return kind === "ws" ? 10_000 : 2_000;
}

/** One value for each contender, for a figure's line. */
export function byName<T>(list: readonly (readonly [Contender, T])[]): Record<string, T> {
  return Object.fromEntries(list.map(([one, value]) => [one.name, value]));
}
