import { suite } from "uvu";
import * as assert from "uvu/assert";
import { type Declaration, failure, openShop, type Shop } from "./shop.ts";

const test = suite("mistakes in a declaration");
let shop: Shop;
let sql: Shop["sql"];
const watch: Shop["watch"] = (declaration) => shop.watch(declaration);

test.before(async () => {
  shop = await openShop();
  sql = shop.sql;
});
test.after(() => shop.drop());
test.before.each(() => shop.reset());

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
    [{ message: "null::text", title: "'t'", event: null, recipients: null }, /./],
  ] as const) {
    const { message, code } = await failure(watch(declaration as Declaration));
    assert.match(message, pattern, `${JSON.stringify(declaration)}: ${message}`);
    assert.ok(code !== "XX000", message);
  }
  assert.match((await failure(watch({ title: "Paid" }))).hint!, /fixed text wants quotes/);
  assert.match((await failure(watch({ message: null }))).message, /message: give a message, an event, or both/);
  assert.is((await sql`select from tidings.watches`).length, 0);
});

test("no text can leave its place: brackets, semicolons, comments and quotes end in an error, and nothing runs", async () => {
  await sql`create table canary (alive int)`;
  for (const text of [
    "'a') || ('b'",
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
  assert.is((await shop.entries())[0]!.message, "quoted; -- /* $$ ) ' ");
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
    assert.equal(await shop.recipients(), ["a", "b"]);
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

test.run();
