/** Pruning moves floors and counts, waits for nobody, and tidying removes what is past its use. */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { checkInvariants, entriesOf, type Scene, scene } from "./scene.ts";

const test = suite("retention");
let s: Scene;
test.before(async () => {
  s = await scene();
});
test.after(() => s.db.drop());

/** Entries 1..many of a user, the first `old` of them forty days old. */
async function aged(user: string, many: number, old: number): Promise<void> {
  await s.sql`insert into note (recipient, body) select ${user}, 'x' from generate_series(1, ${many})`;
  await s.sql`update tidings.notification set created_at = created_at - interval '40 days' where user_id = ${user} and id <= ${old}`;
}

const prune = async (most = 1_000): Promise<number> =>
  (await s.sql`select tidings.prune(clock_timestamp() - interval '30 days', ${most}) as gone`)[0]!.gone;

async function inbox(user: string): Promise<Record<string, number>> {
  const [row] = await s.sql`select last_id, floor_id, unread_count from tidings.inbox where user_id = ${user}`;
  return { ...row };
}

test("old entries go, with their mail, and the floor and the count with them; the sequence goes on", async () => {
  await aged("a", 10, 6);
  await s.sql`select tidings.mark('a', 2, 'read'), tidings.mark('a', 3, 'archived')`;
  await s.sql`insert into tidings.email (user_id, id, type, created_at, next_at) values ('a', 1, 'note', now(), now()), ('a', 9, 'note', now(), now())`;
  assert.is(await prune(), 6);
  assert.equal(await inbox("a"), { last_id: 10, floor_id: 6, unread_count: 4 });
  assert.equal(
    (await s.sql`select id from tidings.email where user_id = 'a'`).map(({ id }) => id),
    [9],
  );
  await s.sql`insert into note (recipient, body) values ('a', 'next')`;
  assert.equal((await entriesOf(s.sql, "a")).at(-1), [11, "next"]);
  assert.is(await prune(), 0);
  await checkInvariants(s.sql);
});

test("batches of one prune all users in the end, also more of them than one commit numbers row by row", async () => {
  for (let i = 0; i < 15; i++) await aged(`b${i}`, 3, 2);
  assert.is(await prune(1), 1);
  assert.is(await prune(4), 4);
  assert.is(await prune(), 25);
  const rows = await s.sql`select distinct last_id, floor_id, unread_count from tidings.inbox where user_id like 'b%'`;
  assert.equal([...rows], [{ last_id: 3, floor_id: 2, unread_count: 1 }]);
  await checkInvariants(s.sql);
});

test("entries that somebody is reading are left for the next round; nobody waits", async () => {
  await aged("c", 5, 5);
  await s.pool.begin(async (reader) => {
    await reader`select tidings.mark('c', 2, 'read')`;
    await s.sql.begin(async (tx) => {
      await tx`set local lock_timeout = '1s'`;
      assert.is((await tx`select tidings.prune(clock_timestamp() - interval '30 days') as gone`)[0]!.gone, 4);
    });
  });
  assert.equal(await inbox("c"), { last_id: 5, floor_id: 5, unread_count: 0 });
  assert.is(await prune(), 1);
  await checkInvariants(s.sql);
});

test("writers do not wait while a prune is open", async () => {
  await aged("d", 3, 3);
  await s.pool.begin(async (pruner) => {
    await pruner`select tidings.prune(clock_timestamp() - interval '30 days')`;
    await s.sql.begin(async (tx) => {
      await tx`set local lock_timeout = '1s'`;
      await tx`insert into note (recipient, body) values ('d', 'new')`;
    });
  });
  assert.equal(await inbox("d"), { last_id: 4, floor_id: 3, unread_count: 1 });
});

test("tidying removes parcels of the last minute but one, and tickets past their time", async () => {
  await s.sql`insert into tidings.parcel (payload, created_at) values ('{}', now() - interval '2 minutes'), ('{}', now())`;
  await s.sql`insert into tidings.ticket values ('\\x01', '{}', now() - interval '1 s'), ('\\x02', '{}', now() + interval '9 s')`;
  await s.sql`select tidings.tidy()`;
  assert.is((await s.sql`select from tidings.parcel`).length, 1);
  assert.is((await s.sql`select from tidings.ticket`).length, 1);
});

test("a parcel of a long transaction is young when it can first be read", async () => {
  await s.sql.begin(async (tx) => {
    await tx`select tidings.notify_user('p', jsonb_build_object('type', 'x', 'fill', repeat('x', 9000)))`;
    await tx`select pg_sleep(0.3)`;
  });
  const [row] =
    await s.sql`select max(created_at) > clock_timestamp() - interval '250 ms' as young from tidings.parcel`;
  assert.is(row!.young, true);
});

test("a round with nothing due reads a few pages, also where new entries stand on pages of pruned ones", async () => {
  await aged("g", 20_000, 20_000);
  while ((await prune(5_000)) > 0);
  await s.sql`vacuum analyze tidings.notification`;
  await s.sql`insert into note (recipient, body) select 'g', 'again' from generate_series(1, 20000)`;
  const [row] = await s.sql.unsafe(`explain (analyze, buffers, format json)
    select user_id, id from tidings.notification where created_at < now() - interval '30 days' order by created_at limit 1000`);
  const read = (row as unknown as { "QUERY PLAN": [{ Plan: Record<string, number> }] })["QUERY PLAN"][0].Plan;
  assert.ok(read["Shared Hit Blocks"]! + read["Shared Read Blocks"]! < 20, JSON.stringify(read));
});

test.run();
