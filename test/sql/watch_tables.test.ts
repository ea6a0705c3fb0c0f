import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { Sql } from "../../src/db/client.ts";
import { database, type TestDatabase } from "../helpers/database.ts";

const test = suite("watched tables and their owners");
let db: TestDatabase;
let sql: Sql;

test.before(async () => {
  db = await database({ domain: false });
  sql = db.connect({ max: 1 });
});
test.after(async () => {
  await sql.unsafe(
    "reset role; drop owned by tidings_owner, tidings_writer cascade; drop role tidings_owner; drop role tidings_writer",
  );
  await db.drop();
});
test.before.each(async () => {
  await sql.unsafe(`
    reset role; drop schema if exists shop cascade;
    do $$ begin
      if not exists (select from pg_roles where rolname = 'tidings_owner') then create role tidings_owner; create role tidings_writer; end if;
    end $$;
    create schema shop; grant usage, create on schema shop to tidings_owner; grant usage on schema shop to tidings_writer; set search_path = shop;
    select tidings.unwatch(name) from tidings.watches;
    truncate tidings.inbox, tidings.notification;
    create table orders (id int primary key, customer int)`);
});

async function failure(work: Promise<unknown>): Promise<{ message: string; code: string; hint?: string }> {
  try {
    await work;
  } catch (error) {
    return error as never;
  }
  throw new Error("it did not fail");
}
const watch = (source: string, operations = "{insert}") =>
  sql.unsafe(
    `select tidings.watch('w', $1::text::regclass, 'new.customer', 'order', 't', 'm', $2::text[])`
      .replace("'t'", "'''t'''")
      .replace("'m'", "'''m'''"),
    [source, operations],
  );
const recipients = async () =>
  (await sql`select user_id from tidings.notification order by user_id::int`).map((row) => row.user_id);
const state = async () => (await sql`select state from tidings.watches where name = 'w'`)[0]?.state;

test("declaring again under the same name replaces the watch, also on another table", async () => {
  await sql`create table other (id int primary key, customer int)`;
  await watch("orders");
  await watch("other", "{insert,update}");
  await sql`insert into orders values (1, 1)`;
  await sql`insert into other values (1, 2)`;
  assert.equal(await recipients(), ["2"]);
  assert.is((await sql`select from tidings.watches`).length, 1);
  assert.is((await sql`select from pg_trigger where tgname like 'tidings w %'`).length, 2);
});

test("a replacement that is wrong leaves the old one in place", async () => {
  await watch("orders");
  await failure(sql`select tidings.watch('w', 'orders', 'new.nobody', 'order', null, '1')`);
  await sql`insert into orders values (1, 1)`;
  assert.equal(await recipients(), ["1"]);
});

test("unwatch ends it and leaves nothing behind; without such a watch it is an error", async () => {
  await watch("orders");
  await sql`select tidings.unwatch('w')`;
  await sql`insert into orders values (1, 1)`;
  assert.equal(await recipients(), []);
  assert.is((await sql`select from pg_proc where proname like 'tidings watch%'`).length, 0);
  assert.match((await failure(sql`select tidings.unwatch('w')`)).message, /there is no watch 'w'/);
});

test("the view says what is wrong: a dropped table, a trigger switched off", async () => {
  await watch("orders");
  assert.is(await state(), "active");
  await sql`alter table orders rename to bought`;
  assert.is((await sql`select source from tidings.watches`)[0]!.source, "bought");
  await sql`alter table bought disable trigger user`;
  assert.match(await state(), /^disabled/);
  await sql`drop table bought`;
  assert.match(await state(), /^broken: the table is gone/);
  await sql`select tidings.unwatch('w')`;
  assert.is(await state(), undefined);
});

test("a partitioned table is heard through the parent and through each partition; later ones after a refresh", async () => {
  await sql.unsafe(`
    create table parts (id int, customer int, primary key (id)) partition by range (id);
    create table p1 partition of parts for values from (0) to (10);
    create table p2 partition of parts for values from (10) to (30) partition by range (id);
    create table p21 partition of p2 for values from (10) to (20)`);
  await watch("parts", "{insert,update}");
  await sql`insert into parts values (1, 1), (11, 2)`;
  await sql`insert into p1 values (2, 3)`;
  await sql`insert into p2 values (12, 4)`;
  await sql`insert into p21 values (13, 5)`;
  assert.equal(await recipients(), ["1", "2", "3", "4", "5"]);
  await sql`create table p22 partition of p2 for values from (20) to (30)`;
  await sql`insert into parts values (21, 6)`;
  await sql`insert into p22 values (22, 7)`;
  assert.equal(await recipients(), ["1", "2", "3", "4", "5", "6"]);
  assert.match(await state(), /^1 partitions without triggers: run tidings.refresh_watch/);
  await sql`select tidings.refresh_watch('w')`;
  assert.is(await state(), "active");
  await sql`insert into p22 values (23, 8)`;
  await sql`update parts set id = 24, customer = 9 where id = 1`;
  assert.equal(await recipients(), ["1", "2", "3", "4", "5", "6", "8"], "a changed primary key is another row");
});

test("what cannot be watched is refused with a reason", async () => {
  await sql.unsafe(`
    create view v as select * from orders; create materialized view mv as select * from orders;
    create temp table tmp (id int primary key, customer int); create table nokey (customer int);
    create table parts (id int primary key, customer int) partition by range (id);
    create table part partition of parts for values from (0) to (10);
    create foreign data wrapper none; create server none foreign data wrapper none;
    create foreign table far (id int, customer int) server none`);
  try {
    for (const [source, pattern] of [
      ["v", /source: shop.v is a view/],
      ["mv", /is a materialized view/],
      ["far", /is a foreign table/],
      ["tmp", /is a temporary table/],
      ["part", /is a partition/],
      ["orders_pkey", /is no table/],
      ["tidings.notification", /is a table of Tidings itself/],
    ] as const) {
      assert.match((await failure(watch(source))).message, pattern);
    }
    assert.match(
      (await failure(watch("nokey", "{insert,update}"))).message,
      /operations: shop.nokey has no primary key/,
    );
    await watch("nokey");
  } finally {
    await sql`drop foreign data wrapper none cascade`;
    await sql`drop table tmp`;
  }
});

test("only who owns the table may watch it, and the owner must be allowed to publish", async () => {
  const grants = (
    await sql`select p.oid::regprocedure::text as f from pg_proc p where pronamespace = 'tidings'::regnamespace and (proname like 'watch%' or proname = 'unwatch')`
  ).map((row) => row.f);
  await sql.unsafe(`grant usage on schema tidings to tidings_owner, tidings_writer; grant select on tidings.watch_functions, tidings.watches to tidings_owner, tidings_writer;
    ${grants.map((f) => `grant execute on function ${f} to tidings_owner, tidings_writer`).join(";")};
    alter table orders owner to tidings_owner; create table secret (customer int); create table nobody (customer int); create table friends (customer int, friend int)`);
  await sql.unsafe(
    "alter table friends owner to tidings_owner; insert into friends values (1, 8); grant insert on orders to tidings_writer; set role tidings_writer",
  );
  const foreign = await failure(watch("orders"));
  assert.equal([foreign.code, /only who owns shop.orders may watch it/.test(foreign.message)], ["42501", true]);
  await sql`set role tidings_owner`;
  assert.match((await failure(watch("orders"))).hint!, /grant execute on function tidings.stage_watched/);
  await sql`reset role`;
  await sql`grant execute on function tidings.stage_watched to tidings_owner`;
  await sql`set role tidings_owner`;
  assert.match(
    (await failure(sql`select tidings.watch('w', 'orders', 'select customer from secret', 'order', null, '1')`))
      .message,
    /recipients: permission denied for table secret/,
  );
  await sql`select tidings.watch('w', 'orders', 'select friend from friends f where f.customer = new.customer', 'order', null, '''m''')`;
  await sql.unsafe(
    "set role tidings_writer; create temp table friends (customer int, friend int); insert into friends values (1, 666); insert into shop.orders values (1, 1)",
  );
  assert.match((await failure(sql`select tidings.unwatch('w')`)).code, /42501/);
  await sql`reset role`;
  assert.equal(await recipients(), ["8"], "a writer needs no right on what the watch reads, and bends none of it");
});

test("a watch that a superuser declares runs with the rights of the table's owner", async () => {
  await sql.unsafe(
    "grant usage on schema tidings to tidings_owner; grant execute on function tidings.stage_watched to tidings_owner; alter table orders owner to tidings_owner; create table secret (id int)",
  );
  await sql`select tidings.watch('w', 'orders', 'select id from secret', 'order', null, '''m''')`;
  assert.is((await sql`select owner::text from tidings.watches`)[0]!.owner, "tidings_owner");
  assert.match((await failure(sql`insert into orders values (1, 1)`)).message, /permission denied for table secret/);
});

test.run();
