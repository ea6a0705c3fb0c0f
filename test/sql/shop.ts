/** A schema `shop` with a table of orders to be watched, made anew by `reset`, and what came of writing to it. */
import type { Sql } from "../../src/db/client.ts";
import { database } from "../helpers/database.ts";

export interface Entry {
  user_id: string;
  id: number;
  type: string;
  event: unknown;
  title: string | null;
  message: string | null;
  data: unknown;
}

/** Parameters of tidings.watch; `null` leaves out a default of `Shop.watch`. */
export type Declaration = Readonly<Record<string, string | null>>;

export interface Failure {
  message: string;
  code: string;
  hint?: string;
  detail?: string;
}

export interface Shop {
  /** One connection, its search_path set to shop. */
  sql: Sql;
  reset(): Promise<void>;
  drop(): Promise<void>;
  entries(): Promise<Entry[]>;
  recipients(): Promise<string[]>;
  /** Declares a watch on shop.orders called w, with whatever is given instead. */
  watch(declaration?: Declaration): Promise<void>;
}

const DEFAULTS: Declaration = {
  name: "w",
  source: "shop.orders",
  recipients: "new.customer",
  type: "order",
  message: "'m'",
};
const CASTS: Readonly<Record<string, string>> = { source: "::regclass", operations: "::text[]" };

export async function openShop(): Promise<Shop> {
  const db = await database({ domain: false });
  const sql = db.connect({ max: 1 });
  const entries = async (): Promise<Entry[]> => {
    const rows = await sql<Entry[]>`
      select user_id, id, type, event, title, message, data from tidings.notification order by created_at, user_id, id`;
    return rows.map((row) => ({ ...row }));
  };
  return {
    sql,
    entries,
    drop: () => db.drop(),
    recipients: async () => (await entries()).map((entry) => entry.user_id),
    async reset() {
      await sql.unsafe(`
        reset role; drop schema if exists shop cascade; create schema shop; set search_path = shop;
        select tidings.unwatch(name) from tidings.watches;
        truncate tidings.inbox, tidings.notification;
        create table orders (id bigint generated always as identity primary key, customer int, watchers bigint[],
          status text not null default 'new', note text);
        create table follower (customer int, follower_id text);
        insert into follower values (1, 'f1'), (1, 'f2'), (2, 'f1')`);
    },
    async watch(declaration = {}) {
      const all = Object.entries({ ...DEFAULTS, ...declaration }).filter(([, value]) => value !== null);
      const args = all.map(([key], at) => `${key} => $${at + 1}::text${CASTS[key] ?? ""}`);
      await sql.unsafe(
        `select tidings.watch(${args.join(", ")})`,
        all.map(([, value]) => value!),
      );
    },
  };
}

/** The error that `work` ends with; an error of its own where it does not fail. */
export async function failure(work: Promise<unknown>): Promise<Failure> {
  const error = await work.then(
    () => null,
    (thrown: Failure) => thrown,
  );
  if (!error) throw new Error("it did not fail");
  return error;
}
