import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { Sql } from "../../src/db/client.ts";
import { createScheduler, type Scheduler } from "../../src/worker/scheduler.ts";
import { database, type TestDatabase } from "../helpers/database.ts";
import { eventually } from "../helpers/eventually.ts";
import { type Ear, listen } from "./envelopes.ts";

const test = suite("the scheduler");
const DAY = 86_400;
let db: TestDatabase;
let sql: Sql;
let ear: Ear;
let running: Scheduler[] = [];

test.before(async () => {
  db = await database();
  sql = db.sql;
  ear = await listen(db);
});
test.after(() => db.drop());
test.before.each(async () => {
  await sql`truncate app."user", tidings.inbox, tidings.notification restart identity cascade`;
  await sql`insert into app."user" (username) values ('ann'), ('ben'), ('cleo'), ('dan')`;
});
test.after.each(async () => {
  await Promise.all(running.map((one) => one.stop()));
  running = [];
});

async function start(on = sql): Promise<{ scheduler: Scheduler; warnings: unknown[] }> {
  const warnings: unknown[] = [];
  const scheduler = createScheduler({
    sql: on,
    reminderSeconds: DAY,
    log: { warn: (fields) => warnings.push(fields) },
  });
  running.push(scheduler);
  await scheduler.start();
  return { scheduler, warnings };
}

async function run(): Promise<{ done: number | null; wait: number | null }> {
  const [row] = await sql`select * from app.run_schedule(${DAY}, 500)`;
  return row as { done: number; wait: number };
}

async function told(...types: string[]): Promise<string[]> {
  const rows =
    await sql`select type, user_id from tidings.notification where type = any(${types}) order by created_at, id, user_id`;
  return rows.map((row) => `${row.type} ${row.user_id}`);
}

test("an invite past its expiry becomes expired and tells both sides, a settled one stays as it is", async () => {
  await sql`insert into app.invite (sender_id, receiver_id, game, status, expires_at) values
    (1, 2, 'a', 'pending', now() - interval '1 hour'), (1, 2, 'b', 'accepted', now() - interval '1 hour'),
    (1, 2, 'c', 'pending', now() + interval '1 hour'), (1, 2, 'd', 'pending', null)`;
  assert.is((await run()).done, 1);
  const rows = await sql`select status from app.invite order by id`;
  assert.equal(
    rows.map((row) => row.status),
    ["expired", "accepted", "pending", "pending"],
  );
  assert.equal(await told("invite_status"), ["invite_status 1", "invite_status 2"]);
  const { done, wait } = await run();
  assert.is(done, 0);
  assert.ok(wait! > 3_500 && wait! < 3_600);
});

test("a task is called overdue once per due_at, to creator and assignee; done and cancelled ones never", async () => {
  await sql`insert into app.task (title, creator_id, assignee_id, due_at, status) values
    ('Report', 1, 2, now() - interval '1 hour', 'todo'), ('Done', 1, 2, now() - interval '1 hour', 'done'),
    ('Off', 1, 2, now() - interval '1 hour', 'cancelled'), ('Own', 3, 3, now() - interval '2 hours', 'in_progress')`;
  await run();
  await run();
  assert.equal((await told("overdue")).sort(), ["overdue 1", "overdue 2", "overdue 3"]);
  const [row] =
    await sql`select title, message, data from tidings.notification where user_id = '1' and type = 'overdue'`;
  assert.equal([row!.title, row!.message, row!.data.task_id], ["Task Overdue", 'Task "Report" is now overdue.', 1]);
  await sql`update app.task set due_at = now() - interval '1 minute' where id = 1`;
  await run();
  assert.is((await told("overdue")).length, 5);
  await sql`update app.task set title = 'Renamed' where id = 1`;
  await run();
  assert.is((await told("overdue")).length, 5);
});

test("a reminder is sent once, to the assignee, else the creator, and moving due_at re-arms it", async () => {
  await sql`insert into app.task (title, creator_id, assignee_id, due_at, created_at) values
    ('A', 1, 2, now() + interval '23 hours', now() - interval '5 days'), ('B', 1, null, now() + interval '23 hours', now() - interval '5 days'),
    ('C', 1, 2, now() + interval '25 hours', now() - interval '5 days')`;
  assert.is((await run()).done, 2);
  await run();
  assert.equal((await told("deadline_reminder")).sort(), ["deadline_reminder 1", "deadline_reminder 2"]);
  await sql`update app.task set due_at = now() + interval '30 hours' where id = 1`;
  await run();
  assert.is((await told("deadline_reminder")).length, 2);
  const [row] = await sql`select app.run_schedule(${31 * 3600}, 500)`;
  assert.ok(row);
  assert.is((await told("deadline_reminder")).length, 4);
});

test("no reminder for a task created inside the window; a due_at moved into it is reminded of, once", async () => {
  await sql`insert into app.task (title, creator_id, due_at, created_at) values
    ('New', 1, now() + interval '1 hour', now()), ('Far', 3, now() + interval '9 days', now() - interval '5 days')`;
  await run();
  assert.equal(await told("deadline_reminder"), []);
  await sql`update app.task set due_at = now() + interval '2 hours'`;
  await run();
  await run();
  assert.equal(await told("deadline_reminder"), ["deadline_reminder 3"]);
});

test("while one instance acts, another does nothing", async () => {
  await sql`insert into app.invite (sender_id, receiver_id, game, expires_at) values (1, 2, 'g', now() - interval '1 hour')`;
  await sql.begin(async (tx) => {
    await tx`select pg_advisory_xact_lock(1953063019, 0)`;
    assert.is((await run()).done, null);
  });
  assert.is((await run()).done, 1);
});

test("after a downtime over both moments the reminder comes first, then the overdue notification", async () => {
  await sql`insert into app.task (title, creator_id, due_at, created_at) values ('R', 1, now() - interval '1 hour', now() - interval '5 days')`;
  await run();
  assert.equal(await told("deadline_reminder", "overdue"), ["deadline_reminder 1", "overdue 1"]);
});

test("a row that somebody is writing waits for the next round, and nobody waits for it", async () => {
  await sql`insert into app.invite (sender_id, receiver_id, game, expires_at) select 1, 2, 'g', now() - interval '1 hour' from generate_series(1, 2)`;
  await sql.begin(async (tx) => {
    await tx`select from app.invite where id = 1 for update`;
    const { done, wait } = await run();
    assert.is(done, 1);
    assert.ok(wait! < 0);
  });
  assert.is((await run()).done, 1);
});

test("2,000 invites expire in batches, each user's ids staying dense", async () => {
  await sql`insert into app.invite (sender_id, receiver_id, game, expires_at) select 1, 2, 'g', now() - interval '1 hour' from generate_series(1, 2000)`;
  await start();
  await eventually(async () => (await sql`select from app.invite where status = 'pending' limit 1`).length === 0, {
    deadlineMs: 20_000,
  });
  const rows =
    await sql`select user_id, count(*) = max(id) as dense, count(*)::int as many from tidings.notification group by 1 order by 1`;
  assert.equal(
    rows.map((row) => [row.user_id, row.dense, row.many]),
    [
      ["1", true, 2000],
      ["2", true, 4000],
    ],
  );
});

test("writing a nearer moment announces it once per statement; one that is far away, or none, announces nothing", async () => {
  const control = async (statement: string) =>
    (await ear.hear(() => sql.unsafe(statement)).then(() => ear.texts())).join("").match(/"type": ?"schedule"/g)
      ?.length ?? 0;
  const invite = "insert into app.invite (sender_id, receiver_id, game, expires_at)";
  assert.is(await control(`${invite} select 1, 2, 'g', now() + interval '5 s' from generate_series(1, 3)`), 1);
  assert.is(await control(`${invite} values (1, 2, 'g', now() + interval '1 hour'), (1, 2, 'g', null)`), 0);
  assert.is(await control("update app.invite set game = 'x'"), 0);
  assert.is(await control("update app.invite set expires_at = now() + interval '6 s'"), 1);
  assert.is(await control("insert into app.task (title, creator_id) values ('t', 1)"), 0);
  assert.is(
    await control("insert into app.task (title, creator_id, due_at) values ('t', 1, now() + interval '9 days')"),
    1,
  );
  assert.is(await control("update app.task set status = 'in_progress'"), 0);
  assert.is(await control("update app.task set due_at = now() + interval '8 days'"), 1);
  assert.is(await control("update app.task set due_at = 'infinity'"), 0);
});

test("a moment written while it sleeps is met within seconds of being due, when it is nudged", async () => {
  const { scheduler } = await start();
  await new Promise((resolve) => setTimeout(resolve, 400)); // it has looked, and sleeps for 30 s
  const [row] =
    await sql`insert into app.invite (sender_id, receiver_id, game, expires_at) values (1, 2, 'g', clock_timestamp() + interval '0.7 s') returning expires_at`;
  scheduler.nudge(row!.expires_at.toISOString());
  // how late the same machine is with a timer and a query of the test's own
  const [own] = await new Promise<void>((resolve) => setTimeout(resolve, row!.expires_at.getTime() - Date.now())).then(
    () => sql`select extract(epoch from clock_timestamp() - ${row!.expires_at}::timestamptz)::float8 as seconds`,
  );
  await eventually(async () => (await told("invite_status")).length === 2, { deadlineMs: 10_000 });
  const [late] = await sql`select extract(epoch from updated_at - expires_at)::float8 as seconds from app.invite`;
  console.log(`met ${late!.seconds} s late, a timer of the test's own ${own!.seconds} s`);
  assert.ok(late!.seconds >= 0 && late!.seconds < 0.5 + 10 * own!.seconds, `${late!.seconds} s, ${own!.seconds} s`);
});

test("several instances send each thing once, and the others go on when one is gone", async () => {
  for (let n = 0; n < 4; n++) await start(db.connect({ max: 1 }));
  await sql`insert into app.invite (sender_id, receiver_id, game, expires_at) select 1, 2, 'g', clock_timestamp() + g * interval '2 ms' from generate_series(1, 500) g`;
  await sql`insert into app.task (title, creator_id, due_at) select 't', 3, clock_timestamp() + g * interval '2 ms' from generate_series(1, 500) g`;
  for (const one of running) one.nudge();
  await running[0]!.stop();
  await running[1]!.stop();
  await eventually(async () => (await sql`select from app.task where overdue_for is null limit 1`).length === 0, {
    deadlineMs: 8_000,
  });
  await eventually(async () => (await sql`select from app.invite where status = 'pending' limit 1`).length === 0, {
    deadlineMs: 8_000,
  });
  const rows =
    await sql`select user_id, type, count(*)::int as many from tidings.notification where type in ('overdue', 'invite_status') group by 1, 2 order by 1`;
  assert.equal(
    rows.map((row) => [row.user_id, row.many]),
    [
      ["1", 500],
      ["2", 500],
      ["3", 500],
    ],
  );
});

test("a connection that is cut under it is a warning, and it goes on", async () => {
  const own = db.connect({ max: 1, name: "cut" });
  const { scheduler, warnings } = await start(own);
  await eventually(async () => (await own`select 1`).length === 1);
  const stolen = sql.begin(async (tx) => {
    // the round waits here for the row of a user, and is killed there
    await tx`select from tidings.inbox for update`;
    await tx`lock table app.invite in access exclusive mode`;
    scheduler.nudge();
    await eventually(
      async () =>
        (
          await sql`select pg_terminate_backend(pid) from pg_stat_activity where wait_event_type = 'Lock' and query like '%run_schedule%' and application_name = 'tidings cut'`
        ).length === 1,
    );
  });
  await stolen;
  await eventually(() => warnings.length === 1);
  await sql`insert into app.invite (sender_id, receiver_id, game, expires_at) values (1, 2, 'g', now() - interval '1 s')`;
  await eventually(async () => (await told("invite_status")).length === 2, { deadlineMs: 8_000 });
});

test("it does not poll: between due moments it asks at most every 30 seconds", async () => {
  const own = db.connect({ max: 1 });
  let queries = 0;
  const counted = new Proxy(own, {
    apply(target, self, args) {
      queries++;
      return Reflect.apply(target as never, self, args);
    },
  });
  await start(counted);
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  assert.is(queries, 1);
});

test.run();
