/**
 * An application's own postgres.js client, for our queries: whatever types it was made to read, they get what a client
 * of ours gives them (client.ts, arrays.ts). It is shared and not changed: the application's own queries read as before.
 * Refuses a client that renames columns or changes rows, for then no query of ours could read its own.
 */
import type { PendingQuery, Row } from "postgres";
import { TidingsError } from "../errors.ts";
import { arrayReaders, arrayToText, BIGINT_ARRAY } from "./arrays.ts";
import { BIGINT, parseBigint, type Sql } from "./client.ts";

interface Result extends Array<Row> {
  readonly columns?: readonly { readonly name: string; readonly type: number }[];
}
type Then = PendingQuery<Row[]>["then"];
type Read = (value: unknown) => unknown;

const readBigint: Read = (value) =>
  typeof value === "string" || typeof value === "bigint" ? parseBigint(String(value)) : value;

/** Of arrays the client may have read the braces and not the elements, or nothing. */
const READERS: ReadonlyMap<number, Read> = new Map<number, Read>([
  ...[...arrayReaders(parseBigint)].map(([oid, parse]): [number, Read] => [
    oid,
    (value) => {
      if (typeof value === "string") return parse(value);
      return oid === BIGINT_ARRAY && Array.isArray(value) ? value.map(readBigint) : value;
    },
  ]),
  [BIGINT, readBigint],
]);

/**
 * @returns the same pool, seen by our queries; also in its transactions
 * @throws TidingsError `configuration` for a client with `transform`
 */
export function adopt(sql: Sql): Sql {
  const { column, value, row } = sql.options.transform;
  if (column?.from || value?.from || row?.from) {
    const text =
      "The postgres.js client has `transform`, which renames what Tidings reads: pass a client without it, or none.";
    throw new TidingsError("configuration", text);
  }
  return seen(sql);
}

function seen<S extends object>(sql: S): S {
  return new Proxy(sql, {
    apply: (target, self, args: unknown[]) =>
      told(
        Reflect.apply(
          target as never,
          self,
          args.map((each, at) => (at > 0 ? parameter(each) : each)),
        ),
      ),
    get(target, key) {
      const found: unknown = Reflect.get(target, key);
      if (key === "unsafe") return (...args: never[]) => told((found as CallableFunction)(...args));
      if (key !== "begin" && key !== "savepoint") return found;
      return (...args: unknown[]) =>
        (found as CallableFunction)(
          ...args.map((each) => (typeof each === "function" ? (tx: object) => each(seen(tx)) : each)),
        );
    },
  });
}

/** An array is written as text, for the client may know no array types; one of fragments is the driver's. */
function parameter(value: unknown): unknown {
  return Array.isArray(value) && !value.some((each) => each instanceof Promise) ? arrayToText(value) : value;
}

/** A query stays the driver's own, to be nested and cancelled; only what it resolves with is read again. */
function told(query: unknown): unknown {
  if (!(query instanceof Promise)) return query;
  const then = query.then.bind(query) as Then;
  // biome-ignore lint/suspicious/noThenProperty: `await` reads a query by its `then`, and so does the driver's `begin`
  query.then = ((done, failed) => then((result) => reread(result)).then(done, failed)) as Then as never;
  return query;
}

function reread<R extends Result>(result: R): R {
  for (const { name, type } of result.columns ?? []) {
    const read = READERS.get(type);
    if (read) for (const row of result) row[name] = read(row[name]);
  }
  return result;
}
