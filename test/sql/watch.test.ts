import { suite } from "uvu";
import * as assert from "uvu/assert";
import { timed } from "./scene.ts";
import { openShop, type Shop } from "./shop.ts";

const test = suite("tidings.watch");
let shop: Shop;
let sql: Shop["sql"];
const watch: Shop["watch"] = (declaration) => shop.watch(declaration);

test.before(async () => {
  shop = await openShop();
  sql = shop.sql;
});
test.after(() => shop.drop());
test.before.each(() => shop.reset());

test("an insert becomes a notification for the user the expression names", async () => {
  await watch({ title: "'Order ' || new.id", message: "new.note", data: "jsonb_build_object('order_id', new.id)" });
  await sql`insert into orders (customer, note) values (7, 'hello')`;
  assert.equal(await shop.entries(), [
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
    assert.equal((await shop.recipients()).sort(), expected);
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
    (await shop.entries()).map((entry) => [entry.user_id, entry.message]),
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
    (await shop.entries()).map((entry) => entry.message),
    ["made", "changed", "gone"],
  );
});

test("an event alone stores no notification, and gives the type where there is none", async () => {
  await watch({
    type: "null",
    message: null,
    event: "jsonb_build_object('type', 'order_made', 'order', to_jsonb(new))",
  });
  await sql`insert into orders (customer) values (1)`;
  const [entry] = await shop.entries();
  assert.equal([entry!.type, entry!.message, entry!.data], ["order_made", null, null]);
  assert.is((entry!.event as { order: { id: number } }).order.id, 1);
});

test("a key is stored once per user, and a type may be computed", async () => {
  await watch({ key: "'order ' || new.customer", type: "'order_' || new.status" });
  await sql`insert into orders (customer) values (1), (1)`;
  await sql`insert into orders (customer) values (1)`;
  assert.equal(
    (await shop.entries()).map((entry) => entry.type),
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
    assert.equal(await shop.recipients(), expected);
  }
});

test("5,000 rows in one statement cost one fan-out, also after a statement of one row", async () => {
  await watch({
    operations: "{insert,update}",
    recipients: "select follower_id from follower f where f.customer = new.customer",
  });
  await sql`insert into orders (customer) values (1)`;
  await sql`update orders set note = 'x'`;
  const inserted = await timed(
    () => sql`insert into orders (customer) select 1 + g % 2 from generate_series(1, 5000) g`,
  );
  const updated = await timed(() => sql`update orders set note = 'y'`);
  console.log(`an update of 5,000 rows took ${(updated / inserted).toFixed(1)} times their insert`);
  // about as long; old and new joined by nested loops, 25 million pairs took more than 5 s
  assert.ok(updated < 5 * inserted, `${updated} ms for the update, ${inserted} ms for the insert`);
});

test("a bulk insert is in the order of the primary key", async () => {
  await watch({ message: "new.id::text" });
  await sql`insert into orders (customer) select 1 from generate_series(1, 300)`;
  const [row] =
    await sql`select array_agg(message::int order by id) = array_agg(message::int order by message::int) as in_order from tidings.notification`;
  assert.is(row!.in_order, true);
});

test.run();
