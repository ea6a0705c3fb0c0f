// What goes through the client and comes back: bigints, arrays, and a connection that breaks while it is being made.
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { close, connect, type Sql } from "../../src/db/client.ts";
import { database, type TestDatabase } from "../helpers/database.ts";

const test = suite("client");
let db: TestDatabase;

test.before(async () => {
  db = await database({ migrate: false });
});
test.after(() => db.drop());

async function using<T>(url: string, work: (sql: Sql) => Promise<T>): Promise<T> {
  const sql = connect(url, { max: 1, name: "probe" });
  try {
    return await work(sql);
  } finally {
    await close(sql);
  }
}

test("bigints arrive as numbers, and as text where a number would lose digits", async () => {
  const [row] = await db.sql`
    select 42::bigint as small, 9007199254740993::bigint as large, array[1, 9007199254740993]::bigint[] as list`;
  assert.equal({ ...row }, { small: 42, large: "9007199254740993", list: [1, "9007199254740993"] });
});

test("the connection tells its name", async () => {
  const [row] = await using(db.url, (sql) => sql`select current_setting('application_name') as name`);
  assert.is(row!.name, "tidings probe");
});

test("arrays of text survive whatever is in them", async () => {
  const odd = ["", " ", "NULL", "null", 'a"b', "a\\b", '\\"', "{x,y}", "a,b", "{}", "é\n\t☃", null];
  const [row] =
    await db.sql`select ${odd}::text[] as list, array_length(${odd}::text[], 1) as n, ${[]}::text[] as none`;
  assert.equal({ ...row }, { list: odd, n: odd.length, none: [] });
});

test("arrays of the other built-in types go in and come back", async () => {
  const day = new Date("2025-12-11T08:12:34.123Z");
  const data = { a: 'q"\\', b: [1, null] };
  const objects = [data, null] as unknown as string[];
  const [row] = await db.sql`
    select ${[1, -2]}::int[] as ints, ${[3, null]}::bigint[] as bigints, array[true, false] as booleans,
      ${[day.toISOString()]}::timestamptz[] as days, ${objects}::jsonb[] as objects, '[0:1]={7,8}'::int[] as bounds,
      ${"{4,5}"}::int[] as literal, array[1.5]::float8[] as floats`;
  assert.equal(
    { ...row },
    {
      ...{ ints: [1, -2], bigints: [3, null], booleans: [true, false], days: [day], objects: [data, null] },
      ...{ bounds: [7, 8], literal: [4, 5], floats: [1.5] },
    },
  );
});

test("a failure while a connection is being made reaches the caller, and nobody else", async () => {
  // postgres.js asks the catalogs for array types here, unless told not to; that query's failure is nobody's.
  await using(`${db.url}?statement_timeout=1`, async (sql) => {
    for (let n = 0; n < 3; n++) {
      const code = await sql`select pg_sleep(1)`.then(
        () => "",
        (error: { code: string }) => error.code,
      );
      assert.is(code, "57014");
    }
  });
});

test.run();
