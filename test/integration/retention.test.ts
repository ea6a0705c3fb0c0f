/**
 * Old entries go in batches while everybody writes and reads on; who asks for what is gone is told so; and how much a
 * user has stored is nothing to a stream that asks for the newest.
 */
// @alone
// @timeout 90
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { createHousekeeper } from "../../src/db/housekeeper.ts";
import { closeClients, type SocketClient, socket, sse } from "../helpers/clients.ts";
import { database, type TestDatabase } from "../helpers/database.ts";
import { type Instance, instance } from "../helpers/instance.ts";
import { store, storeMany } from "../helpers/streams.ts";

const test = suite("retention");
let db: TestDatabase;
let app: Instance;

test.before(async () => {
  db = await database({ domain: false });
  app = await instance(db.url, { env: { DOMAIN: "off" } });
});
test.after.each(closeClients);
test.after(async () => {
  await app?.stop();
  await db?.drop();
});

const open = async (user: number, cursor: number): Promise<SocketClient> =>
  socket(`${app.ws}/ws/notifications/?last_event_id=${cursor}`, { headers: await app.auth(user) });

test("10,000 old entries are pruned in batches: no writer waits, no stream ends, floors and counts are right", async () => {
  const users = Array.from({ length: 20 }, (_, at) => 100 + at);
  for (const user of users) await storeMany(db.sql, user, 600);
  await db.sql`update tidings.notification set created_at = created_at - interval '31 days' where id <= 500`;
  const live = await open(100, 600);
  await live.find("ready");
  const keeper = createHousekeeper({
    sql: db.connect({ max: 1, name: "keeper" }),
    retentionDays: 30,
    elected: () => true,
    failed: (error) => {
      throw error;
    },
  });
  const pruning = keeper.run();
  const waits: number[] = [];
  let done = false;
  const writing = (async () => {
    for (let at = 0; !done; at++) {
      const began = performance.now();
      await store(db.sql, users[at % users.length]!);
      waits.push(performance.now() - began);
    }
  })();
  const began = performance.now();
  assert.is(await pruning, 10_000);
  const took = performance.now() - began;
  done = true;
  await writing;
  const worst = Math.round(Math.max(...waits));
  console.log(`10,000 in ${Math.round(took)} ms; ${waits.length} writes meanwhile, the slowest ${worst} ms`);
  assert.ok(waits.length > 5 && worst < Math.max(1_000, took / 2), "nobody waited for the whole of it");
  const wrong = await db.sql`
    select user_id from tidings.inbox i where floor_id <> 500 or unread_count <> (
      select count(*) from tidings.notification n where n.user_id = i.user_id and not is_read and archived_at is null)`;
  assert.equal([...wrong], []);
  const [{ last_id } = { last_id: 0 }] = await db.sql<{ last_id: number }[]>`
    select last_id from tidings.inbox where user_id = '100'`;
  await live.find((frame) => frame.id === last_id);
  assert.equal(live.all("reset"), []);
  await keeper.stop();
});

test("a cursor below the floor and one from the future are reset, one at the floor is resumed, on both transports", async () => {
  const user = 200;
  await storeMany(db.sql, user, 10);
  await db.sql`update tidings.notification set created_at = created_at - interval '31 days' where user_id = '200' and id <= 4`;
  await db.sql`select tidings.prune(clock_timestamp() - interval '30 days')`;
  const url = `${app.url}/sse/notifications/?last_event_id=`;
  for (const [cursor, resume, last] of [
    [3, "reset", 10],
    [11, "reset", 10],
    [4, "complete", 4],
    [10, "complete", 10],
  ] as const) {
    for (const client of [await open(user, cursor), await sse(url + cursor, await app.auth(user))]) {
      const { data } = await client.find("ready");
      assert.equal([data?.resume, data?.last_event_id], [resume, last]);
      if (resume === "reset") assert.equal((await client.find("reset")).data, { last_event_id: 10 });
      else await client.find("unread_count");
      assert.is(client.all("notification").length, resume === "reset" ? 0 : 10 - cursor);
    }
  }
});

test("a million stored entries do not slow the replay of the newest 20", async () => {
  const [few, many] = [300, 301];
  await storeMany(db.sql, few, 40);
  await db.sql.begin(async (sql) => {
    await sql`set local session_replication_role = replica`;
    await sql`insert into tidings.notification (user_id, id, type, title, message, data, created_at)
      select ${String(many)}, n, 'note', 'Title', n::text, '{}', now() from generate_series(1, 1000000) n`;
    await sql`insert into tidings.inbox (user_id, last_id, unread_count) values (${String(many)}, 1000000, 1000000)`;
  });
  await db.sql`analyze tidings.notification`;
  const time = async (user: number, last: number): Promise<number> => {
    const began = performance.now();
    const client = await open(user, last - 20);
    await client.find((frame) => frame.id === last, 20_000);
    client.close();
    return performance.now() - began;
  };
  const samples: Record<"few" | "many", number[]> = { few: [], many: [] };
  for (let round = 0; round < 25; round++) {
    samples.few.push(await time(few, 40));
    samples.many.push(await time(many, 1_000_000));
  }
  const median = (values: number[]): number => values.sort((a, b) => a - b)[Math.floor(values.length / 2)]!;
  const [short, long] = [median(samples.few), median(samples.many)];
  console.log(
    `newest 20 of 40: ${short.toFixed(1)} ms, of a million: ${long.toFixed(1)} ms, ratio ${(long / short).toFixed(2)}`,
  );
  assert.ok(long < 3 * short + 5);
});

test.run();
