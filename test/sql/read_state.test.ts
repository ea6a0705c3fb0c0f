// @timeout 60
/** Reading, unreading, archiving: the count always equals a recount, and streams are told. */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { eventually } from "../helpers/eventually.ts";
import { checkInvariants, codeOf, hear, randomOf, type Scene, scene } from "./scene.ts";

const test = suite("read state");
let s: Scene;
test.before(async () => {
  s = await scene();
});
test.after(() => s.db.drop());

test("the count equals a recount at every moment of concurrent inserts, reads, unreads, deletes, read-alls and pruning", async () => {
  const users = ["a", "b", "c"];
  const seed = Date.now();
  let done = false;
  let checks = 0;
  const watcher = (async () => {
    while (!done) {
      const rows = await s.sql`
        select i.user_id, i.unread_count, (select count(*) from tidings.notification n where n.user_id = i.user_id
          and message is not null and not is_read and archived_at is null) as recount from tidings.inbox i`;
      for (const row of rows) assert.is(row.unread_count, row.recount, `user ${row.user_id}, seed ${seed}`);
      checks++;
    }
  })();
  await Promise.all(
    Array.from({ length: 12 }, async (_, n) => {
      const random = randomOf(seed + n);
      for (let i = 0; i < 40; i++) {
        const user = users[random(3)]!;
        const id = 1 + random(60);
        const what = random(9);
        if (what < 3)
          await s.pool`insert into note (recipient, body) select ${user}, 'x' from generate_series(1, ${1 + random(4)})`;
        else if (what < 5) await s.pool`select tidings.mark(${user}, ${id}, 'read')`;
        else if (what === 5) await s.pool`select tidings.mark(${user}, ${id}, 'unread')`;
        else if (what === 6) await s.pool`select tidings.mark(${user}, ${id}, 'archived')`;
        else if (what === 7 && n % 3 === 0) await s.pool`select tidings.mark_all_read(${user})`;
        else if (n === 0) await s.pool`select tidings.prune(clock_timestamp() - interval '200 ms', 5)`;
      }
    }),
  );
  done = true;
  await watcher;
  assert.ok(checks > 5);
  await checkInvariants(s.sql);
});

test("reading inside publishing transactions, in opposite orders, never deadlocks", async () => {
  await s.sql`select tidings.broadcast(array['x', 'y'], 't', 'm', 'note') from generate_series(1, 40)`;
  const writer = async (first: string, second: string, from: number): Promise<void> => {
    for (let i = 0; i < 20; i++) {
      await s.pool.begin(async (tx) => {
        await tx`select tidings.mark(${first}, ${from + i}, 'read')`;
        await tx`insert into note (recipient, body) values (${second}, 'x')`;
        await tx`select tidings.mark(${second}, ${from + i}, 'read')`;
      });
    }
  };
  await Promise.all([writer("x", "y", 1), writer("y", "x", 21)]);
  await checkInvariants(s.sql);
});

test("setting what is set already changes and announces nothing; an archived one is gone; others' ids are not found", async () => {
  await s.sql`select tidings.send_notification('set', 't', 'm', 'note')`;
  const mark = async (status: string, id = 1): Promise<number> =>
    (await s.sql`select * from tidings.mark('set', ${id}, ${status})`).length;
  const heard = await hear(s.db.url);
  try {
    assert.is(await mark("unread"), 1);
    assert.is(await mark("read"), 1);
    assert.is(await mark("read"), 1);
    assert.is(await mark("archived"), 1);
    assert.is(await mark("archived"), 0);
    assert.is(await mark("unread"), 0);
    assert.is(await mark("read", 2), 0);
    assert.is(await codeOf(mark("gone")), "22023");
    await s.sql`select tidings.notify_user('set', '{"type": "end"}')`;
    await eventually(() => assert.is((heard.envelopes.at(-1)?.payload as { type: string } | undefined)?.type, "end"));
    assert.equal(
      heard.envelopes.slice(0, -1).map(({ payload }) => payload),
      [
        { type: "notification_update", data: { notification_id: 1, status: "read" } },
        { type: "unread_count", data: { count: 0, by_type: {} } },
        { type: "notification_update", data: { notification_id: 1, status: "archived" } },
      ],
    );
  } finally {
    await heard.stop();
  }
});

test("read all stops at an id, a type or a room, and says so", async () => {
  await s.sql`
    select tidings.send_notification('all', 't', 'm', case when n % 2 = 0 then 'even' else 'odd' end, jsonb_build_object('room_id', n % 3))
    from generate_series(1, 12) n`;
  const heard = await hear(s.db.url);
  try {
    const all = async (...args: (number | string | null)[]): Promise<number> =>
      (
        await s.sql`select tidings.mark_all_read('all', ${args[0] ?? null}::bigint, ${args[1] ?? null}, ${args[2] ?? null}::bigint) as n`
      )[0]!.n;
    assert.is(await all(4), 4);
    assert.is(await all(null, "even"), 4);
    assert.is(await all(null, null, 0), 1);
    assert.is(await all(12, null, 0), 0);
    await eventually(() => assert.is(heard.envelopes.length, 6));
    const updates = heard.envelopes.map(({ payload }) => payload as { type: string; data: Record<string, unknown> });
    assert.equal(
      updates.filter(({ type }) => type === "notification_update").map(({ data }) => data),
      [
        { up_to: 4, status: "read" },
        { up_to: 12, type: "even", status: "read" },
        { up_to: 12, room_id: 0, status: "read" },
      ],
    );
    assert.equal(updates.at(-1), { type: "unread_count", data: { count: 3, by_type: { odd: 3 } } });
  } finally {
    await heard.stop();
  }
  await checkInvariants(s.sql);
});

test("the delivered watermark only moves forward, and never beyond what there is", async () => {
  await s.sql`select tidings.broadcast(array['d1', 'd2'], 't', 'm', 'note') from generate_series(1, 5)`;
  await Promise.all(
    Array.from(
      { length: 20 },
      (_, n) =>
        s.pool`select tidings.mark_delivered(${n % 2 ? ["d1", "d2"] : ["d2", "d1"]}::text[], ${[1 + (n % 5), 99]}::bigint[])`,
    ),
  );
  const rows = await s.sql`select user_id, delivered_id from tidings.inbox where user_id in ('d1', 'd2') order by 1`;
  assert.equal(
    rows.map((row) => row.delivered_id),
    [5, 5],
  );
});

for (const many of [1, 3, 15]) {
  test(`mute, stream off and e-mail are kept when ${many} entries are numbered together`, async () => {
    const user = `wish${many}`;
    await s.sql`
      insert into tidings.preference (user_id, type, stream, email, mute)
      values (${user}, 'quiet', true, true, true), (${user}, 'silent', false, false, false), (${user}, 'mailed', true, true, false)`;
    const send = (type: string, event: string | null): PromiseLike<unknown> =>
      s.sql.begin(async (tx) => {
        await tx`select tidings.send_notification(${user}, 't', 'm', ${type}, '{}', ${event}::text::jsonb)`;
        await tx`select tidings.notify_user('other', '{"type": "x"}') from generate_series(2, ${many})`;
      });
    const heard = await hear(s.db.url);
    try {
      await send("quiet", null);
      await send("quiet", '{"type": "e"}');
      await send("silent", null);
      await send("mailed", null);
      await eventually(() => assert.is(heard.entries().length, 3));
      const own = heard.envelopes.filter(({ id }) => id);
      assert.equal(
        own.map(({ streamed }) => streamed),
        [undefined, false, undefined],
      );
      assert.equal(Object.keys(own[0]!.payload as object), ["event"]);
    } finally {
      await heard.stop();
    }
    const rows =
      await s.sql`select id, type, message, streamed from tidings.notification where user_id = ${user} order by id`;
    assert.equal(
      rows.map((row) => [row.id, row.type, row.message, row.streamed]),
      [
        [1, "quiet", null, true],
        [2, "silent", "m", false],
        [3, "mailed", "m", true],
      ],
    );
    assert.equal(
      (await s.sql`select id from tidings.email where user_id = ${user}`).map(({ id }) => id),
      [3],
    );
    await checkInvariants(s.sql);
  });
}

test.run();
