/**
 * Who asks, as a user of the domain. A token may speak for somebody the domain does not know: such a caller has streams
 * and an inbox, and is refused here. Every query of the domain begins at the caller's own row, so that this costs no
 * query of its own: no row at all in the answer means that there is no such user.
 */
import type { Sql } from "../db/client.ts";
import { TidingsError } from "../errors.ts";

/** A piece of a statement, made with the `sql` it will be part of. */
export type Fragment = ReturnType<Sql["unsafe"]> | ReturnType<Sql>;

/** The id of a user in this domain: `app."user".id` as text, which loses no digit. */
export type Caller = string;

/**
 * The caller behind a token's user id.
 * @throws TidingsError "forbidden" where the id has another form than the domain's.
 */
export function callerOf(userId: string): Caller {
  if (!/^[1-9]\d{0,17}$/.test(userId)) throw unknownCaller();
  return userId;
}

export function unknownCaller(): TidingsError {
  return new TidingsError("forbidden", "You are no user of this application: ask its owner for an account.");
}

/** The caller's row for a `with` clause of a reading statement. */
export function reading(sql: Sql, caller: Caller): Fragment {
  return sql`me as (select u.id from app."user" u where u.id = ${caller})`;
}

/**
 * The same for a writing statement: it also tells the triggers who acts (`tidings.actor`, for this transaction), so
 * that nobody is notified of what they did themselves. Being volatile, it is run even though nobody reads the setting.
 */
export function acting(sql: Sql, caller: Caller): Fragment {
  return sql`me as (select u.id, set_config('tidings.actor', u.id::text, true) from app."user" u where u.id = ${caller})`;
}

/**
 * The single row of an answer that begins at the caller.
 * @throws TidingsError "forbidden" where there is none.
 */
export function answerOf<Row>(rows: readonly Row[]): Row {
  const [row] = rows;
  if (!row) throw unknownCaller();
  return row;
}
