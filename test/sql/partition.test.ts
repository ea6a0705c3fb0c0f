/** The steps of a partitioning by themselves (sql/tidings/functions/partition*.sql), where the order of things must be chosen. */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { checkInvariants, codeOf, type Scene, scene } from "./scene.ts";

const test = suite("partition steps");
let s: Scene;
test.before.each(async () => {
  s = await scene();
});
test.after.each(() => s.db.drop());

const send = (user: string, key: string | null = null): Promise<unknown> =>
  s.sql`select tidings.send_notification(${user}::text, 'T', 'm', 'note', key => ${key}::text)`;

const follow = async (most: number): Promise<number> =>
  (await s.sql`select noted::int from tidings.partition_follow(${most}::int)`)[0]!.noted;

async function begin(): Promise<void> {
  await s.sql`select tidings.partition_begin(4)`;
  const [row] = await s.sql`select done from tidings.partition_copy(100000)`;
  assert.is(row!.done, 1);
}

/** Rows that only one of the tables has. */
async function difference(): Promise<number> {
  const [row] = await s.sql`select count(*)::int as many from (
    (table tidings.notification except all table tidings.notification_new) union all
    (table tidings.notification_new except all table tidings.notification)) each`;
  return row!.many;
}

test("each kind of write leaves its note, and nothing else follows from it", async () => {
  for (const user of ["a", "b", "c"]) await send(user);
  await begin();
  assert.is(await difference(), 0);
  await send("a");
  await s.sql`select tidings.mark('b', 1, 'read')`;
  await s.sql`delete from tidings.notification where user_id = 'c'`;
  await s.sql`update tidings.notification set id = 9 where user_id = 'a' and id = 1`;
  const notes = await s.sql`select user_id || id as note from tidings.partition_log order by 1`;
  assert.equal(
    notes.map(({ note }) => note),
    ["a1", "a2", "a9", "b1", "c1"],
  );
  assert.ok((await difference()) > 0);
  assert.is(await follow(100), 5);
  assert.is(await difference(), 0);
});

test("a key that one entry gave up and another took is followed in whatever order the notes come", async () => {
  await send("a", "k");
  await begin();
  await s.sql`update tidings.notification set created_at = created_at - interval '40 days' where user_id = 'a'`;
  await s.sql`select tidings.prune(clock_timestamp() - interval '30 days')`;
  await send("a", "k");
  // those of the newer entry first
  await s.sql`with old as (delete from tidings.partition_log where id = 1 returning *) insert into tidings.partition_log table old`;
  while ((await follow(1)) > 0);
  assert.is(await difference(), 0);
  assert.equal([...(await s.sql`select id, key from tidings.notification_new`)], [{ id: 2, key: "k" }]);
});

test("a difference is found, unless a note explains it; with notes left the tables are not exchanged", async () => {
  for (const user of ["a", "b", "c"]) for (let n = 0; n < 3; n++) await send(user);
  await begin();
  const compare = async (): Promise<{ busy: number; wrong: string[] | null }> =>
    (await s.sql`select busy::int, wrong from tidings.partition_compare('', 100)`)[0] as never;
  assert.equal(await compare(), { busy: 0, wrong: null });
  await s.sql`select tidings.mark('a', 1, 'read')`;
  assert.equal(await compare(), { busy: 1, wrong: null });
  assert.is(await codeOf(s.sql`select tidings.partition_swap()`), "55000");
  await s.sql`delete from tidings.notification_new where user_id = 'b' and id = 2`;
  await s.sql`update tidings.notification_new set is_read = true where user_id = 'c' and id = 2`;
  assert.equal((await compare()).wrong?.sort(), ["b", "c"]);
  await s.sql`truncate tidings.partition_log`;
  await s.sql`create index later on tidings.notification (actor)`; // as an upgrade may
  assert.is(await codeOf(s.sql`select tidings.partition_swap()`), "55000");
  await s.sql`select tidings.partition_abort()`;
  await checkInvariants(s.sql);
});

test.run();
