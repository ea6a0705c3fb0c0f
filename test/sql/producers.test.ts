/** What producers call: every form of user id, plain inserts, groups, and what is refused with a hint. */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { eventually } from "../helpers/eventually.ts";
import { checkInvariants, codeOf, entriesOf, type Heard, hear, type Scene, scene } from "./scene.ts";

const test = suite("producers");
let s: Scene;
let heard: Heard;
test.before(async () => {
  s = await scene();
});
test.after(() => s.db.drop());
test.before.each(async () => {
  heard = await hear(s.db.url);
});
test.after.each(() => heard.stop());

test("the canonical notification carries the producer's fields beside its own, which win", async () => {
  const data = { task_id: 42, id: "forged", archived: true, data: "forged", url: "/tasks/42", title: "forged" };
  await s.sql`select tidings.send_notification(7, null, 'Line 1\n"two" ü', 'overdue', ${s.sql.json(data)}, '{"type": "due", "n": 1}')`;
  await eventually(() => assert.is(heard.envelopes.length, 1));
  const [row] = await s.sql`
    select tidings.canonical(n.id, type, title, message, data, is_read, archived_at is not null, created_at) as json,
      tidings.utc(created_at) as at from tidings.notification n where user_id = '7'`;
  assert.match(row!.at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
  assert.equal(row!.json, {
    id: 1,
    notification_id: 1,
    title: "",
    message: 'Line 1\n"two" ü',
    notification_type: "overdue",
    is_read: false,
    created_at: row!.at,
    timestamp: row!.at,
    data,
    task_id: 42,
    url: "/tasks/42",
  });
  assert.equal(heard.envelopes[0], {
    type: "notify",
    group: "user_7",
    id: 1,
    created_at: row!.at,
    payload: { event: { type: "due", n: 1 }, notification: row!.json },
  });
});

test("timestamps are UTC with six digits in any time zone and date style", async () => {
  await s.sql.begin(async (tx) => {
    await tx`set local timezone = 'Asia/Kathmandu'`;
    await tx`set local datestyle = 'German'`;
    const [row] = await tx`select tidings.utc('2025-12-11 08:12:34+00') as at`;
    assert.is(row!.at, "2025-12-11T08:12:34.000000Z");
  });
});

test("user ids are text or bigint, lists of them too, and untyped literals", async () => {
  await s.sql.unsafe(`
    select tidings.send_notification(1, 't', 'm', 'n'), tidings.send_notification('1', 't', 'm', 'n'), tidings.send_notification(1::bigint, 't', 'm', 'n');
    select tidings.notify_user(1, '{"type":"x"}'), tidings.notify_user('1', '{"type":"x"}');
    select tidings.revoke(1), tidings.revoke('1');
    select tidings.broadcast(array[1, 2], 't', 'm', 'n'), tidings.broadcast(array[1::bigint], 't', 'm', 'n');
    select tidings.broadcast(array['1', '1', '2'], 't', 'm', 'n'), tidings.broadcast('{1,2}', 't', 'm', 'n')`);
  await s.sql`select tidings.broadcast(null, 't', 'to all', 'n')`;
  assert.is((await entriesOf(s.sql, "1")).length, 8);
  assert.is((await entriesOf(s.sql, "2")).length, 4);
  assert.equal((await entriesOf(s.sql, "7")).at(-1), [2, "to all"]);
  await checkInvariants(s.sql);
});

test("a plain insert into the view equals send_notification", async () => {
  await s.sql`insert into tidings.notifications (user_id, message) values (50, 'short'), (51, 'other')`;
  await s.sql`insert into tidings.notifications (user_id, message, title, type, data) values ('50', 'm', 't', 'k', '{"a": 1}')`;
  const rows =
    await s.sql`select user_id, message, title, type, data, id from tidings.notifications where user_id = '50' order by id`;
  assert.equal(
    [...rows],
    [
      { user_id: "50", message: "short", title: "", type: "notification", data: {}, id: 1 },
      { user_id: "50", message: "m", title: "t", type: "k", data: { a: 1 }, id: 2 },
    ],
  );
});

test("transient events reach their group and are not stored", async () => {
  await s.sql`select tidings.notify_user('60', '{"type": "typing"}')`;
  await s.sql`select tidings.notify_group('notifications_60', '{"type": "typing"}')`;
  await s.sql`select tidings.notify_group('room_9', '{"type": "typing"}')`;
  await eventually(() => assert.is(heard.envelopes.length, 3));
  assert.equal(
    heard.envelopes,
    ["user_60", "user_60", "room_9"].map((group) => ({ type: "notify", group, payload: { type: "typing" } })),
  );
  assert.equal(await entriesOf(s.sql, "60"), []);
});

test("what is rolled back notifies nobody", async () => {
  const undo = new Error("undo");
  await s.sql
    .begin(async (tx) => {
      await tx`select tidings.notify_user('70', '{"type": "x"}'), tidings.send_notification('70', 't', 'm', 'n'), tidings.revoke('70')`;
      throw undo;
    })
    .catch((error) => assert.is(error, undo));
  await s.sql`select tidings.notify_user('71', '{"type": "x"}')`;
  await eventually(() => assert.is(heard.envelopes.length, 1));
  assert.is(heard.envelopes[0]!.group, "user_71");
});

test("what is no event, no user, no group, no data or no message is refused with 22023, at the call", async () => {
  const refused = [
    "tidings.notify_user('1', 'null')",
    "tidings.notify_user('1', null)",
    "tidings.notify_user('1', '[]')",
    `tidings.notify_user('1', '{"no": "type"}')`,
    `tidings.notify_user('1', '{"type": 1}')`,
    `tidings.notify_user('1', '{"type": ""}')`,
    `tidings.notify_user('1', '{"type": "x", "id": 1}')`,
    `tidings.notify_user('1', '{"type": "x", "more": true}')`,
    `tidings.notify_user('1', '{"type": "ready"}')`,
    `tidings.notify_user('', '{"type": "x"}')`,
    `tidings.notify_user(null::text, '{"type": "x"}')`,
    `tidings.notify_user(repeat('x', 256), '{"type": "x"}')`,
    `tidings.notify_group('all', '{"type": "x"}')`,
    `tidings.notify_group(null, '{"type": "x"}')`,
    `tidings.notify_group('room_x', '{"type": "x"}')`,
    `tidings.notify_group('notifications_nobody', '{"type": "x"}')`,
    "tidings.send_notification('1', 't', null, 'n')",
    "tidings.send_notification('1', 't', 'm', 'n', '[]')",
    "tidings.send_notification('1', 't', 'm', repeat('n', 256))",
    "tidings.send_notification('', 't', 'm', 'n')",
    "tidings.send_notification(null::text, 't', 'm', 'n')",
    `tidings.send_notification('1', 't', 'm', 'n', '{}', '{"type": "error"}')`,
    "tidings.broadcast(array['1', null], 't', 'm', 'n')",
    "tidings.revoke('')",
  ];
  for (const call of refused) assert.is(await codeOf(s.sql.unsafe(`select ${call}`)), "22023", call);
});

test("a trigger that stages what may not be sent fails at its statement, not at the commit", async () => {
  const refused = [
    `('e', '1', 't', 'm', '[]', null)`,
    `('e', '1', 't', null, null, '{"no": "type"}')`,
    `('t', '1', null, null, null, '{"type": "x", "id": 1}')`,
    `('e', '', 't', 'm', null, null)`,
    `('e', '1', repeat('t', 300), 'm', null, null)`,
  ];
  for (const row of refused) {
    await s.sql.begin(async (tx) => {
      const insert = tx.savepoint((inner) =>
        inner.unsafe(`insert into tidings.outbox (kind, target, type, message, data, event) values ${row}`),
      );
      assert.is(await codeOf(insert), "23514", row);
    });
  }
});

test("the actor of a notification is recorded", async () => {
  await s.sql.begin(async (tx) => {
    await tx`set local tidings.actor = '8'`;
    await tx`select tidings.send_notification('80', 't', 'm', 'n')`;
  });
  await s.sql`select tidings.send_notification('80', 't', 'm', 'n')`;
  const rows = await s.sql`select actor from tidings.notification where user_id = '80' order by id`;
  assert.equal(
    rows.map(({ actor }) => actor),
    ["8", null],
  );
});

test("a revocation is announced and removes the user's tickets", async () => {
  await s.sql`insert into tidings.ticket values ('\\x01', '{"userId": "90"}', now() + interval '1 minute'), ('\\x02', '{"userId": "91"}', now() + interval '1 minute')`;
  await s.sql`select tidings.revoke('90')`;
  await eventually(() => assert.equal(heard.envelopes, [{ type: "revoke", group: "user_90" }]));
  assert.is((await s.sql`select from tidings.ticket`).length, 1);
  assert.is(
    (await s.sql`select from tidings.revocation where user_id = '90' and revoked_at > now() - interval '1 minute'`)
      .length,
    1,
  );
});

test.run();
