// @timeout 60
/** Numbering at commit: dense, in commit order, without locks held before the commit. */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { checkInvariants, codeOf, entriesOf, randomOf, type Scene, scene, timed } from "./scene.ts";

const test = suite("numbering");
/** 4 to 8 on any machine; the plan of a nested loop took more than 60. */
const MOST_INSERTS = 25;
let s: Scene;
test.before(async () => {
  s = await scene();
});
test.after(() => s.db.drop());

test("twenty writers who roll back a quarter of their work leave no hole, and a reader never sees one", async () => {
  const users = ["a", "b", "c"];
  const undo = new Error("rolled back on purpose");
  let done = false;
  let polls = 0;
  const seed = Date.now();
  const poll = async (): Promise<void> => {
    while (!done) {
      const rows = await s.sql`
        select user_id, count(*) as many, max(id) as newest from tidings.notification where user_id = any(${users}) group by 1`;
      for (const { user_id, many, newest } of rows) assert.is(many, newest, `user ${user_id} has a hole, seed ${seed}`);
      polls++;
    }
  };
  const writer = async (n: number): Promise<void> => {
    const random = randomOf(seed + n);
    for (let i = 0; i < 30; i++) {
      await s.pool
        .begin(async (tx) => {
          await tx`insert into note (recipient, body) values (${users[random(3)]!}, ${`${n}.${i}`})`;
          if (random(4) === 0) {
            await tx
              .savepoint(async (inner) => {
                await inner`insert into note (recipient, body) values (${users[random(3)]!}, 'undone')`;
                throw undo;
              })
              .catch((error) => assert.is(error, undo));
          }
          if (random(3) === 0) await tx`insert into note (recipient, body) values (${users[random(3)]!}, 'second')`;
          if (random(4) === 0) throw undo;
        })
        .catch((error) => assert.is(error, undo));
    }
  };
  const reader = poll();
  await Promise.all(Array.from({ length: 20 }, (_, n) => writer(n)));
  done = true;
  await reader;
  assert.ok(polls > 10);
  await checkInvariants(s.sql);
  const [{ many }] = (await s.sql`select count(*) as many from tidings.notification where message = 'undone'`) as [
    { many: number },
  ];
  assert.is(many, 0);
});

test("single rows and broadcasts of every size in one transaction are all numbered, in the order they were written", async () => {
  const undo = new Error("rolled back on purpose");
  const sizes = [1, 2, 7, 8, 9, 10, 20];
  for (const first of [true, false]) {
    for (const size of sizes) {
      const user = `mixed ${first} ${size}`;
      const others = Array.from({ length: size - 1 }, (_, n) => `other ${n}`);
      await s.pool.begin(async (tx) => {
        if (first) await tx`insert into note (recipient, body) values (${user}, 'alone')`;
        const sendAll = (sql: typeof tx, text: string) =>
          sql`select tidings.broadcast(${[user, ...others]}::text[], 't', ${text}, 'note')`;
        await tx
          .savepoint(async (inner) => {
            await sendAll(inner, "undone");
            throw undo;
          })
          .catch((error) => assert.is(error, undo));
        await sendAll(tx, "to all");
        await tx`select tidings.send_notification(${user}, 't', 'after', 'note')`;
      });
      const expected = [...(first ? ["alone"] : []), "to all", "after"];
      assert.equal(
        await entriesOf(s.sql, user),
        expected.map((message, at) => [at + 1, message]),
      );
    }
  }
  assert.is((await s.sql`select 1 from tidings.outbox`).length, 0);
  await checkInvariants(s.sql);
});

test("a writer who stays open for seconds after publishing does not delay another to the same user", async () => {
  await s.pool.begin(async (open) => {
    await open`insert into note (recipient, body) values ('slow', 'first written, last committed')`;
    await open`insert into note (recipient, body) values ('slow', 'and more')`;
    const began = performance.now();
    await s.sql`insert into note (recipient, body) values ('slow', 'quick')`;
    assert.ok(performance.now() - began < 1_000);
    await open`select pg_sleep(1.5)`;
  });
  assert.equal(await entriesOf(s.sql, "slow"), [
    [1, "quick"],
    [2, "first written, last committed"],
    [3, "and more"],
  ]);
});

test("opposite orders of recipients never deadlock", async () => {
  const writer = async (users: string[], extra: string | null): Promise<void> => {
    for (let i = 0; i < 60; i++) {
      await s.pool.begin(async (tx) => {
        for (const user of users) await tx`insert into note (recipient, body) values (${user}, 'x')`;
        // with a key the locks are taken beforehand: in the same order, also for users new to the inbox
        if (extra) await tx`select tidings.send_notification(${`${extra}${i}`}, 't', 'm', 'note', key => 'k')`;
      });
    }
  };
  const many = Array.from({ length: 12 }, (_, n) => `m${String(n).padStart(2, "0")}`);
  await Promise.all([
    writer(["p", "q"], null),
    writer(["q", "p"], null),
    writer(many, "a_new"),
    writer([...many].reverse(), "z_new"),
    writer(["q", "m03", "p"], "m_new"),
    writer(["z_new1", "a_new2", "m05"], null),
  ]);
  await checkInvariants(s.sql);
});

test("twenty thousand recipients in one statement are one set-based fan-out, with a key too", async () => {
  // autovacuum analyses the outbox while it is empty, and a plan made for that took 13 s
  await s.sql`vacuum analyze tidings.outbox`;
  // a plain insert of as many rows into as many indexes, for how fast the machine is just now
  await s.sql`create table plain (like tidings.notification including all)`;
  const users = Array.from({ length: 20_000 }, (_, n) => `u${n}`);
  const ratios: number[] = [];
  for (const [nth, key] of [null, "announcement", "announcement"].entries()) {
    const plain = await timed(
      () => s.sql`insert into plain (user_id, id, type, title, message, data, created_at)
        select u, ${nth}::int + 1, 'news', 'All', 'to everybody', '{}', now() from unnest(${users}::text[]) u`,
    );
    const took = await timed(
      () => s.sql`select tidings.broadcast(${users}::text[], 'All', 'to everybody', 'news', key => ${key})`,
    );
    ratios.push(took / plain);
  }
  console.log(`20,000 recipients took ${ratios.map((one) => one.toFixed(1)).join(", ")} times a plain insert`);
  assert.ok(Math.max(...ratios) < MOST_INSERTS, `${ratios}`);
  const [row] =
    await s.sql`select count(*) filter (where last_id = 2) as right, count(*) from tidings.inbox where user_id ~ '^u[0-9]+$'`;
  assert.is(row!.right, 20_000);
  await checkInvariants(s.sql);
});

test("the entries of a transaction are numbered in the order they were staged, one or nine or ten of them", async () => {
  for (const size of [1, 2, 9, 10, 30]) {
    const user = `ordered${size}`;
    await s.sql.begin(async (tx) => {
      for (let i = 0; i < size; i++) {
        await tx`insert into note (recipient, body) values (${i % 3 === 2 ? `${user}other` : user}, ${String(i)})`;
      }
    });
    const order = (await entriesOf(s.sql, user)).map(([, message]) => Number(message));
    assert.equal(
      order,
      [...order].sort((a, b) => a - b),
    );
    assert.is(order.length, size - Math.floor(size / 3));
  }
  await checkInvariants(s.sql);
});

test("writers of repeatable read fail with 40001 at commit when the user's sequence has moved, and leave nothing", async () => {
  await s.sql`insert into note (recipient, body) values ('rr', 'one')`;
  const code = await codeOf(
    s.pool.begin("isolation level repeatable read", async (tx) => {
      await tx`insert into note (recipient, body) values ('rr', 'never')`;
      await s.sql`insert into note (recipient, body) values ('rr', 'two')`;
    }),
  );
  assert.is(code, "40001");
  await s.pool.begin(
    "isolation level repeatable read",
    (tx) => tx`insert into note (recipient, body) values ('rr', 'three')`,
  );
  assert.equal(await entriesOf(s.sql, "rr"), [
    [1, "one"],
    [2, "two"],
    [3, "three"],
  ]);
});

test("created_at follows the ids, also where writers waited for each other", async () => {
  await Promise.all(
    Array.from({ length: 20 }, (_, n) =>
      s.pool.begin(async (tx) => {
        for (let i = 0; i < (n % 2 ? 12 : 1); i++) await tx`insert into note (recipient, body) values ('clock', 'x')`;
      }),
    ),
  );
  const rows = await s.sql`
    select id from (select id, created_at, lag(created_at) over (order by id) before from tidings.notification where user_id = 'clock') n
    where created_at < before`;
  assert.equal([...rows], []);
});

test.run();
