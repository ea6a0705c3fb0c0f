// @timeout 60
/** The doorbell: whoever announces, every envelope is announced exactly once. */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { Sql } from "../../src/db/client.ts";
import { eventually } from "../helpers/eventually.ts";
import { type Heard, hear, type Scene, scene } from "./scene.ts";

const test = suite("doorbell");
let s: Scene;
let heard: Heard;
test.before(async () => {
  s = await scene();
  heard = await hear(s.db.url);
});
test.after(async () => {
  await heard.stop();
  await s.db.drop();
});

/** A relay: holds the office on its one connection and calls relay() every few milliseconds. */
async function relay(): Promise<{ sql: Sql; taken: () => number; stop: () => Promise<void> }> {
  const sql = s.db.connect({ max: 1 });
  let taken = 0;
  let going = true;
  await sql`select pg_advisory_lock(1953063017, 0)`;
  const running = (async () => {
    while (going) {
      const [row] = await sql`select tidings.relay() as taken`;
      taken += row!.taken;
      await new Promise((resolve) => setTimeout(resolve, 3));
    }
  })();
  return {
    sql,
    taken: () => taken,
    async stop() {
      going = false;
      await running;
      await sql`select pg_advisory_unlock_all()`;
    },
  };
}

async function write(writers: number, rounds: number, user: string): Promise<string[]> {
  await Promise.all(
    Array.from({ length: writers }, async (_, n) => {
      for (let i = 0; i < rounds; i++) {
        // one row, a few, many: each its own path
        const rows = i % 20 === 0 ? 30 : i % 5 === 0 ? 3 : 1;
        await s.pool`insert into note (recipient, body) select ${`${user}${n % 3}`} || n % 2, 'x' from generate_series(1, ${rows}) n`;
      }
    }),
  );
  const rows =
    await s.sql`select user_id || ':' || id as entry from tidings.notification where user_id like ${`${user}%`}`;
  return rows.map((row) => row.entry as string).sort();
}

const announced = (user: string): string[] =>
  heard
    .entries()
    .filter((entry) => entry.startsWith(user))
    .sort();

test("without a relay every writer announces for itself", async () => {
  const expected = await write(8, 40, "direct");
  await eventually(() => assert.is(announced("direct").length, expected.length));
  assert.equal(announced("direct"), expected);
  const [left] = await s.sql`select count(*) as many from tidings.unannounced`;
  assert.is(left!.many, 0);
});

test("with a relay eight busy writers leave some to it, and each is announced once", async () => {
  const office = await relay();
  const expected = await write(8, 80, "relayed");
  await eventually(() => assert.is(announced("relayed").length, expected.length));
  assert.equal(announced("relayed"), expected);
  assert.ok(office.taken() > 0, "no writer ever left anything to the relay");
  await office.stop();
});

test("a lone writer announces for itself though there is a relay", async () => {
  const sql = s.db.connect({ max: 1 });
  await sql`select pg_advisory_lock(1953063017, 0)`;
  const expected = await write(1, 5, "lone");
  await eventually(() => assert.equal(announced("lone"), expected));
  await sql`select pg_advisory_unlock_all()`;
});

test("what a writer leaves while others are announcing is announced by the relay, in their order", async () => {
  const office = s.db.connect({ max: 1 });
  await office`select pg_advisory_lock(1953063017, 0)`;
  await s.pool.begin(async (busy) => {
    await busy`select pg_advisory_xact_lock(1953063017, n) from generate_series(1, 3) n`;
    for (let i = 0; i < 5; i++) await s.sql`insert into note (recipient, body) values ('held', 'x')`;
    await s.sql`insert into note (recipient, body) select 'held', 'x' from generate_series(1, 15)`;
    assert.equal(announced("held"), []);
    assert.is((await office`select tidings.relay(7) as taken`)[0]!.taken, 7);
    assert.is((await office`select tidings.relay() as taken`)[0]!.taken, 13);
    assert.is((await office`select tidings.relay() as taken`)[0]!.taken, 0);
  });
  await eventually(() => assert.is(announced("held").length, 20));
  const order = heard.entries().filter((entry) => entry.startsWith("held"));
  assert.equal(
    order,
    Array.from({ length: 20 }, (_, i) => `held:${i + 1}`),
  );
  await office`select pg_advisory_unlock_all()`;
});

test("a relay killed in the middle of its transaction loses nothing: its successor announces it", async () => {
  const office = s.db.connect({ max: 1 });
  await office`select pg_advisory_lock(1953063017, 0)`;
  await s.pool.begin(async (busy) => {
    await busy`select pg_advisory_xact_lock(1953063017, n) from generate_series(1, 3) n`;
    for (let i = 0; i < 4; i++) await s.sql`insert into note (recipient, body) values ('killed', 'x')`;
  });
  await office.unsafe("begin; select tidings.relay(); select pg_terminate_backend(pg_backend_pid())").then(
    () => assert.unreachable(),
    () => {},
  );
  assert.equal(announced("killed"), []);
  const [lock] = await s.sql`select pg_try_advisory_lock(1953063017, 0) and pg_advisory_unlock(1953063017, 0) as free`;
  assert.is(lock!.free, true);
  const successor = await relay();
  await eventually(() => assert.is(announced("killed").length, 4));
  await successor.stop();
});

test("a writer who commits long after it was held back is not overlooked by a relay that went on meanwhile", async () => {
  const office = await relay();
  const taken = office.taken();
  await s.pool.begin(async (busy) => {
    await busy`select pg_advisory_xact_lock(1953063017, n) from generate_series(1, 3) n`;
    await s.sql.unsafe(`
      create function linger() returns trigger language plpgsql as $$
      begin if new.user_id = 'linger' then perform pg_sleep(0.5); end if; return null; end $$;
      create constraint trigger linger after insert on tidings.notification deferrable initially deferred
        for each row execute function linger()`);
    const slow = s.sql`insert into note (recipient, body) values ('linger', 'x')`;
    const quick = (async () => {
      for (let i = 0; i < 20; i++) {
        await s.sql`insert into note (recipient, body) values ('passing', 'x')`;
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    })();
    await Promise.all([slow, quick]);
  });
  await s.sql`drop trigger linger on tidings.notification`;
  await eventually(() => assert.is(office.taken() - taken, 21));
  await eventually(() => assert.equal(announced("linger"), ["linger:1"]));
  await office.stop();
});

test.run();
