import { suite } from "uvu";
import * as assert from "uvu/assert";
import { reference, to, types } from "./reference.ts";

const test = suite("the reference triggers in bulk and under transactions");
const scene = reference(test);
const { run } = scene;
/** Enough for a nested loop over its square to show. */
const BULK = 6_000;

/** Milliseconds that the trigger which publishes took of a statement. */
async function publishing(statement: string): Promise<number> {
  const [plan] = await scene.session.unsafe(`explain (analyze, format json) ${statement}`);
  const triggers = (plan!["QUERY PLAN"] as { Triggers: { "Trigger Name": string; Time: number }[] }[])[0]!.Triggers;
  return triggers.find((one) => one["Trigger Name"].startsWith("publish"))!.Time;
}

test("a rolled-back write tells nobody and leaves no hole", async () => {
  const frames = await run(
    "begin; insert into app.invite (sender_id, receiver_id, game) values (1, 2, 'chess'); rollback",
  );
  assert.equal(frames, []);
  const [next] = await run("insert into app.invite (sender_id, receiver_id, game) values (1, 2, 'chess')");
  assert.is(next!.id, 1);
});

test("an invite and its acceptance in one transaction arrive in that order, with dense ids", async () => {
  const frames = await run(
    "begin; insert into app.invite (sender_id, receiver_id, game) values (1, 2, 'go'); update app.invite set status = 'accepted'; commit",
  );
  assert.equal(types(to(frames, "user_2")), ["invite_created", "invite_status"]);
  assert.equal(
    to(frames, "user_2").map((frame) => frame.id),
    [1, 2],
  );
});

test("a bulk insert is in row order, each recipient's ids dense, the counts those of a recount", async () => {
  await run(`
    insert into app.room (kind) values ('group'); insert into app.room_member select 1, id from app."user";
    insert into app.message (room_id, sender_id, content) select 1, 1 + g % 4, 'm' || g from generate_series(1, 400) g`);
  const rows = await scene.db.sql`
    select i.user_id, last_id, unread_count, (tidings.unread(i.user_id) -> 'by_type' -> 'new_message')::int as recount,
      (select array_agg(n.id order by (n.event #>> '{message,id}')::int) = array_agg(n.id order by n.id)
        from tidings.notification n where n.user_id = i.user_id) as in_order
    from tidings.inbox i order by 1`;
  assert.equal(
    rows.map((row) => ({ ...row })),
    ["1", "2", "3", "4"].map((user_id) => ({ user_id, last_id: 300, unread_count: 300, recount: 300, in_order: true })),
  );
});

test("a bulk update after a single one stays in seconds: no plan for one row is kept for thousands", async () => {
  await scene.session`insert into app.invite (sender_id, receiver_id, game) values (1, 2, 'chess')`;
  await scene.session`update app.invite set status = 'accepted'`;
  await scene.session`insert into app.task (title, creator_id) values ('Report', 1)`;
  await scene.session`update app.task set status = 'done'`;
  await scene.session`insert into app.friendship (requester_id, addressee_id) values (1, 2)`;
  await scene.session`update app.friendship set status = 'accepted'`;
  const inserted = await publishing(
    `insert into app.invite (sender_id, receiver_id, game) select 1, 2, 'go' from generate_series(1, ${BULK})`,
  );
  await scene.session`insert into app.task (title, creator_id) select 'T', 1 from generate_series(1, ${BULK}::int)`;
  // of hashed joins, and of nested loops
  for (const [statement, most] of [
    ["update app.invite set status = 'expired' where status = 'pending'", 8], // 1.1, and 30
    ["update app.task set status = 'done' where status = 'todo'", 4], // 0.2, and 20
  ] as const) {
    const updated = await publishing(statement);
    console.log(`${statement}: ${(updated / inserted).toFixed(1)} times what the insert of invites published in`);
    assert.ok(updated < most * inserted, `${updated} ms, and ${inserted} ms for the insert`);
  }
});

test("a writer with no right but on the table itself publishes, and temporary tables do not bend what it publishes", async () => {
  await scene.session.unsafe(`
    drop role if exists tidings_test_writer; create role tidings_test_writer;
    grant usage on schema app to tidings_test_writer; grant insert on app.invite to tidings_test_writer`);
  try {
    const frames = await scene.ear.hear(() =>
      scene.session.unsafe(`
        begin; set local role tidings_test_writer;
        create temp table "user" (id bigint, username text); insert into "user" values (1, 'mallory');
        insert into app.invite (sender_id, receiver_id, game) values (1, 2, 'chess'); commit`),
    );
    assert.is(frames[0]!.notification!.message, "ann invited you to chess");
  } finally {
    await scene.session.unsafe("drop owned by tidings_test_writer cascade; drop role tidings_test_writer");
  }
});

test.run();
