import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { Sql } from "../../src/db/client.ts";
import { database, type TestDatabase } from "../helpers/database.ts";

const test = suite("tidings.watch");
let db: TestDatabase;
let sql: Sql;

test.before(async () => {
  db = await database({ domain: false });
  sql = db.connect({ max: 1 });
});
test.after(() => db.drop());
test.before.each(async () => {
  await sql.unsafe(`
    reset role; drop schema if exists shop cascade; create schema shop; set search_path = shop;
    select tidings.unwatch(name) from tidings.watches;
    truncate tidings.inbox, tidings.notification;
    create table orders (id bigint generated always as identity primary key, customer int, watchers bigint[], status text not null default 'new', note text);
    create table follower (customer int, follower_id text);
    insert into follower values (1, 'f1'), (1, 'f2'), (2, 'f1')`);
});

interface Entry {
  user_id: string;
  id: number;
  type: string;
  event: unknown;
  title: string | null;
  message: string | null;
  data: unknown;
}
const entries = async (): Promise<Entry[]> =>
  (
    await sql<
      Entry[]
    >`select user_id, id, type, event, title, message, data from tidings.notification order by created_at, user_id, id`
  ).map((row) => ({ ...row }));
const recipients = async (): Promise<string[]> => (await entries()).map((entry) => entry.user_id);

type Declaration = Partial<
  Record<
    | "name"
    | "source"
    | "recipients"
    | "type"
    | "title"
    | "message"
    | "operations"
    | "condition"
    | "actor"
    | "data"
    | "event"
    | "key",
    string
  >
>;

/** Declares a watch on shop.orders called w, with whatever is given instead. */
async function watch(declaration: Declaration = {}, on = sql): Promise<void> {
  const all = {
    name: "w",
    source: "shop.orders",
    recipients: "new.customer",
    type: "order",
    message: "'m'",
    ...declaration,
  };
  const args = Object.entries(all).filter(([, value]) => value !== undefined);
  const casts: Record<string, string> = { source: "::regclass", operations: "::text[]" };
  await on.unsafe(
    `select tidings.watch(${args.map(([key], at) => `${key} => $${at + 1}::text${casts[key] ?? ""}`).join(", ")})`,
    args.map(([, value]) => value!),
  );
}

async function failure(
  work: Promise<unknown>,
): Promise<{ message: string; code: string; hint?: string; detail?: string }> {
  try {
    await work;
  } catch (error) {
    return error as never;
  }
  throw new Error("it did not fail");
}

test("an insert becomes a notification for the user the expression names", async () => {
  await watch({ title: "'Order ' || new.id", message: "new.note", data: "jsonb_build_object('order_id', new.id)" });
  await sql`insert into orders (customer, note) values (7, 'hello')`;
  assert.equal(await entries(), [
    { user_id: "7", id: 1, type: "order", event: null, title: "Order 1", message: "hello", data: { order_id: 1 } },
  ]);
});

for (const [what, expression, expected] of [
  ["a bigint", "new.customer::bigint", ["1"]],
  ["a text", "'u' || new.customer", ["u1"]],
  ["an array, each user once and no null", "new.watchers", ["4", "5"]],
  ["a text array", "array['b', 'a']", ["a", "b"]],
  ["a set", "unnest(new.watchers)", ["4", "5"]],
  ["a query", "select follower_id from follower f where f.customer = new.customer", ["f1", "f2"]],
  [
    "a query that gives an array",
    "select array_agg(follower_id) from follower f where f.customer = new.customer",
    ["f1", "f2"],
  ],
  ["a query of another kind", "values (new.customer), (9), (9)", ["1", "9"]],
  ["a query with a comment at its end", "select new.customer -- the buyer", ["1"]],
  ["nobody", "nullif(new.customer, 1)", []],
] as const) {
  test(`recipients may be ${what}`, async () => {
    await watch({ recipients: expression });
    await sql`insert into orders (customer, watchers) values (1, array[5, null, 4, 5])`;
    assert.equal((await recipients()).sort(), expected);
  });
}

test("an update joins old and new rows by primary key, and the condition chooses", async () => {
  await sql`insert into orders (customer) select g from generate_series(1, 5) g`;
  await watch({
    operations: "{update}",
    condition: "new.status = 'paid' and old.status <> new.status",
    message: "old.status || ' to ' || new.status",
  });
  await sql`update orders set status = case when customer < 3 then 'paid' else 'late' end`;
  await sql`update orders set status = 'paid' where customer = 1`;
  assert.equal(
    (await entries()).map((entry) => [entry.user_id, entry.message]),
    [
      ["1", "new to paid"],
      ["2", "new to paid"],
    ],
  );
});

test("one text serves several operations: old is null for an insert, new for a delete", async () => {
  await watch({
    operations: "{INSERT,update,delete}",
    recipients: "coalesce(new.customer, old.customer)",
    message: "case when old is null then 'made' when new is null then 'gone' else 'changed' end",
  });
  await sql`insert into orders (customer) values (1)`;
  await sql`update orders set note = 'x'`;
  await sql`delete from orders`;
  assert.equal(
    (await entries()).map((entry) => entry.message),
    ["made", "changed", "gone"],
  );
});

test("an event alone stores no notification, and gives the type where there is none", async () => {
  await watch({
    type: "null",
    message: undefined as never,
    event: "jsonb_build_object('type', 'order_made', 'order', to_jsonb(new))",
  });
  await sql`insert into orders (customer) values (1)`;
  const [entry] = await entries();
  assert.equal([entry!.type, entry!.message, entry!.data], ["order_made", null, null]);
  assert.is((entry!.event as { order: { id: number } }).order.id, 1);
});

test("a key is stored once per user, and a type may be computed", async () => {
  await watch({ key: "'order ' || new.customer", type: "'order_' || new.status" });
  await sql`insert into orders (customer) values (1), (1)`;
  await sql`insert into orders (customer) values (1)`;
  assert.equal(
    (await entries()).map((entry) => entry.type),
    ["order_new"],
  );
});

test("who acts is left out: the setting by default, another expression, or nobody", async () => {
  const write = () =>
    sql.unsafe(
      "begin; set local tidings.actor = '4'; insert into shop.orders (customer, watchers) values (5, '{4,5,6}'); commit",
    );
  for (const [actor, expected] of [
    [undefined, ["5", "6"]],
    ["new.customer", ["4", "6"]],
    ["null", ["4", "5", "6"]],
  ] as const) {
    await sql`truncate tidings.notification, tidings.inbox`;
    await watch({ recipients: "new.watchers", ...(actor ? { actor } : {}) });
    await write();
    assert.equal(await recipients(), expected);
  }
});

test("mistakes are reported when the declaration is made, by parameter and what is at fault", async () => {
  for (const [declaration, pattern] of [
    [{ recipients: "new.customr" }, /recipients: column new.customr does not exist/],
    [{ recipients: "select nobody from follower" }, /recipients: column "nobody" does not exist/],
    [{ recipients: "select 1 from elsewhere" }, /recipients: relation "elsewhere" does not exist/],
    [{ recipients: "select customer, follower_id from follower" }, /recipients: subquery must return only one column/],
    [{ recipients: "to_jsonb(new.watchers)" }, /recipients: it gives jsonb/],
    [{ recipients: "new" }, /recipients: it gives record/],
    [{ condition: "new.status" }, /condition: it gives text, not boolean/],
    [{ condition: "new.status = " }, /condition: syntax error/],
    [{ title: "Paid" }, /title: column "paid" does not exist/],
    [{ message: "'a', 'b'" }, /message: /],
    [{ message: "nofunction(new.id)" }, /message: function nofunction\(bigint\) does not exist/],
    [{ data: "1" }, /data: it gives integer, not jsonb/],
    [{ event: "new.id" }, /event: it gives bigint, not jsonb/],
    [{ key: "status" }, /key: column reference "status" is ambiguous/],
    [{ type: "'x" }, /type: unterminated quoted string/],
    [{ actor: "old.nobody" }, /actor: column old.nobody does not exist/],
    [{ operations: "{insert,truncate}" }, /operations: insert, update and delete/],
    [{ operations: "{}" }, /operations: /],
    [{ name: "" }, /name: 1 to 40 bytes/],
    [{ name: "n".repeat(41) }, /name: 1 to 40 bytes/],
    [{ message: "null::text", title: "'t'", event: undefined as never, recipients: undefined as never }, /./],
  ] as const) {
    const { message, code } = await failure(watch(declaration as Declaration));
    assert.match(message, pattern, `${JSON.stringify(declaration)}: ${message}`);
    assert.ok(code !== "XX000", message);
  }
  assert.match((await failure(watch({ title: "Paid" }))).hint!, /fixed text wants quotes/);
  assert.match(
    (await failure(watch({ message: undefined as never }))).message,
    /message: give a message, an event, or both/,
  );
  assert.is((await sql`select from tidings.watches`).length, 0);
});

test("no text can leave its place: brackets, semicolons, comments and quotes end in an error, and nothing runs", async () => {
  await sql`create table canary (alive int)`;
  for (const text of [
    "1) from new; drop table canary; select (1",
    "1), (2",
    "1; drop table canary",
    "1; drop table canary; --",
    "1 /*",
    "1 */ + 1",
    "'a",
    "$$a",
    "$tidings$ || 1",
    "1) as x, (select 1",
    "1 from canary",
    "1)) (select 1",
    "select 1) r(id), (select 2",
    "select 1; drop table canary",
    "select 1) r; drop table canary; --",
    "with x as (delete from canary returning 1) select * from x",
    "E'\\'; drop table canary; --",
    "]",
    "",
    " ",
  ]) {
    for (const parameter of ["recipients", "message", "condition"] as const) {
      await failure(watch({ [parameter]: text })).catch((error) => {
        throw new Error(`${parameter} ${text}: ${error.message}`);
      });
    }
  }
  assert.is((await sql`select from canary`).length, 0);
  await watch({ message: "'quoted; -- /* $$ ) '' ' -- a comment" });
  await sql`insert into orders (customer) values (1)`;
  assert.is((await entries())[0]!.message, "quoted; -- /* $$ ) ' ");
});

test("names that need quotes are quoted", async () => {
  await sql.unsafe(
    `create schema "Sh""op; --"; create table "Sh""op; --"."Or'ders; $$" ("I d" int, "k;" int, "u%s" text, primary key ("I d", "k;"))`,
  );
  try {
    await watch({
      name: "n\"a'me; $$ %s",
      source: `"Sh""op; --"."Or'ders; $$"`,
      recipients: 'new."u%s"',
      operations: "{insert,update,delete}",
      actor: "null",
      message: `'m' || coalesce(new."I d", 0)`,
      condition: `coalesce(new."u%s", '') <> 'x'`,
    });
    await sql.unsafe(
      `insert into "Sh""op; --"."Or'ders; $$" values (1, 2, 'a'); update "Sh""op; --"."Or'ders; $$" set "u%s" = 'b'`,
    );
    assert.equal(await recipients(), ["a", "b"]);
    const [row] = await sql`select name, state from tidings.watches`;
    assert.equal({ ...row }, { name: "n\"a'me; $$ %s", state: "active" });
    await sql`select tidings.unwatch(${"n\"a'me; $$ %s"})`;
  } finally {
    await sql.unsafe(`drop schema "Sh""op; --" cascade`);
  }
});

test("what goes wrong while a row is written is an error of that write", async () => {
  await watch({ message: "'by ' || new.note" });
  const nullMessage = await failure(sql`insert into orders (customer) values (1)`);
  assert.match(nullMessage.message, /tidings.watch 'w': the message of a row is null/);
  await watch({ message: "(1 / (new.customer - 1))::text" });
  assert.match((await failure(sql`insert into orders (customer) values (1)`)).message, /division by zero/);
  await watch({ event: "jsonb_build_object('type', 'ready')" });
  await failure(sql`insert into orders (customer) values (1)`);
  await watch({ event: "jsonb_build_object('type', 'x', 'id', 1)" });
  assert.match((await failure(sql`insert into orders (customer) values (1)`)).hint!, /reserved/);
  assert.is((await sql`select from orders`).length, 0);
});

test("5,000 rows in one statement cost one fan-out, also after a statement of one row", async () => {
  await watch({
    operations: "{insert,update}",
    recipients: "select follower_id from follower f where f.customer = new.customer",
  });
  await sql`insert into orders (customer) values (1)`;
  await sql`update orders set note = 'x'`;
  await sql`insert into orders (customer) select 1 + g % 2 from generate_series(1, 5000) g`;
  const begun = performance.now();
  await sql`begin`;
  await sql`update orders set note = 'y'`;
  const took = performance.now() - begun;
  await sql`rollback`;
  // 0.3 s here; joined by nested loops, 25 million pairs took more than 5 s
  assert.ok(took < 2_500, `${took} ms`);
});

test("a bulk insert is in the order of the primary key", async () => {
  await watch({ message: "new.id::text" });
  await sql`insert into orders (customer) select 1 from generate_series(1, 300)`;
  const [row] =
    await sql`select array_agg(message::int order by id) = array_agg(message::int order by message::int) as in_order from tidings.notification`;
  assert.is(row!.in_order, true);
});

test.run();
