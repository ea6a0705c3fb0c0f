import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { Sql } from "../../src/db/client.ts";
import { createPresence, type Presence } from "../../src/worker/presence.ts";
import { database, type TestDatabase } from "../helpers/database.ts";
import { eventually } from "../helpers/eventually.ts";
import { type Ear, listen } from "../sql/envelopes.ts";

const test = suite("presence");
const GRACE = 250;
const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
let db: TestDatabase;
let ear: Ear;
let instances: Instance[] = [];

interface Instance {
  presence: Presence;
  warnings: unknown[];
  statements: () => number;
  /** As if the process had been killed: the lock goes, nothing is said. */
  die(): Promise<void>;
}

test.before(async () => {
  db = await database();
  ear = await listen(db);
});
test.after(() => db.drop());
test.before.each(async () => {
  await db.sql`truncate app."user", tidings.presence, tidings.presence_instance restart identity cascade`;
  await db.sql`insert into app."user" (username) values ('ann'), ('ben'), ('cleo'), ('dan')`;
  await db.sql`insert into app.friendship (requester_id, addressee_id, status) values (1, 2, 'accepted'), (3, 1, 'accepted'), (1, 4, 'pending')`;
});
test.after.each(async () => {
  await Promise.all(instances.map((one) => one.die()));
  instances = [];
});

async function start(instance: number): Promise<Instance> {
  const lock = db.connect({ max: 1 });
  await lock`select pg_advisory_lock(1953063018, ${instance})`;
  const own = db.connect({ max: 1 });
  const warnings: unknown[] = [];
  let statements = 0;
  const sql: Sql = new Proxy(own, {
    apply(target, self, args) {
      statements++;
      return Reflect.apply(target as never, self, args);
    },
  });
  const log = { warn: (fields: object) => void warnings.push(fields) };
  const presence = createPresence({ sql, instance, graceMs: GRACE, batchMs: 20, reapMs: 100, log });
  let dead: Promise<unknown> | undefined;
  const die = async () => {
    dead ??= presence.stop().then(() => Promise.all([lock.end({ timeout: 0 }), own.end({ timeout: 1 })]));
    await dead;
  };
  const made = { presence, warnings, statements: () => statements, die };
  instances.push(made);
  return made;
}

const online = async () => (await db.sql`select tidings.online('{1,2,3,4,x}') as users`)[0]!.users.sort();
const updates = async (work: () => Promise<unknown>) =>
  (await ear.hear(work)).map(({ group, event }) => `${group} ${event?.user_id} ${event?.status}`).sort();

test("the first stream anywhere tells accepted friends, and nobody else; further ones tell nobody", async () => {
  const [one, two] = [await start(1), await start(2)];
  const heard = await ear.hear(async () => {
    one.presence.opened("1");
    await eventually(async () => assert.equal(await online(), ["1"]));
  });
  assert.equal(heard.map((frame) => frame.group).sort(), ["user_2", "user_3"]);
  assert.equal(heard[0]!.event, { type: "presence_update", user_id: 1, status: "online" });
  const more = await updates(async () => {
    one.presence.opened("1");
    two.presence.opened("1");
    await eventually(async () => (await db.sql`select from tidings.presence where instances @> '{1,2}'`).length === 1);
  });
  assert.equal(more, []);
});

test("the last close anywhere tells them after the grace, and no close before the last", async () => {
  const [one, two] = [await start(1), await start(2)];
  for (const { presence } of [one, two]) presence.opened("1");
  one.presence.opened("1");
  await eventually(async () => (await db.sql`select from tidings.presence where instances @> '{1,2}'`).length === 1);
  const early = await updates(async () => {
    one.presence.closed("1");
    one.presence.closed("1");
    await eventually(async () => (await db.sql`select from tidings.presence where instances = '{2}'`).length === 1);
  });
  assert.equal(early, []);
  const closedAt = performance.now();
  const last = await updates(async () => {
    two.presence.closed("1");
    await eventually(async () => assert.equal(await online(), []));
  });
  assert.equal(last, ["user_2 1 offline", "user_3 1 offline"]);
  assert.ok(performance.now() - closedAt >= GRACE);
});

test("a reload within the grace writes nothing, however often", async () => {
  const one = await start(1);
  one.presence.opened("1");
  await eventually(async () => assert.equal(await online(), ["1"]));
  await wait(60);
  const before = one.statements();
  const heard = await updates(async () => {
    for (let n = 0; n < 5; n++) {
      one.presence.closed("1");
      await wait(GRACE / 3);
      one.presence.opened("1");
    }
    await wait(2 * GRACE);
  });
  assert.equal(heard, []);
  assert.is(one.statements(), before);
});

test("users who come together cost one statement, and nothing is written while nobody comes or goes", async () => {
  const one = await start(1);
  for (let n = 0; n < 800; n++) one.presence.opened(`u${n}`);
  await eventually(async () => (await db.sql`select count(*)::int as many from tidings.presence`)[0]!.many === 800);
  await wait(200);
  assert.is(one.statements(), 1);
});

test("comings without a pause do not put off the writing", async () => {
  const one = await start(1);
  const timer = setInterval(() => one.presence.opened(`u${Math.random()}`), 5);
  try {
    one.presence.opened("1");
    await eventually(async () => assert.equal(await online(), ["1"]), { deadlineMs: 1_000 });
  } finally {
    clearInterval(timer);
  }
});

test("a user who comes and goes at once on many instances ends up as the last of them says", async () => {
  const all = [await start(1), await start(2), await start(3)];
  for (let round = 0; round < 6; round++) {
    for (const { presence } of all) presence.opened("1");
    await wait(30 + 20 * round);
    for (const { presence } of all) presence.closed("1");
    await wait(GRACE + 10 * round);
  }
  const heard = await updates(() => eventually(async () => assert.equal(await online(), [])));
  assert.ok(heard.every((text) => text.endsWith("offline")));
  assert.is((await db.sql`select from tidings.presence`).length, 0);
  all[1]!.presence.opened("1");
  await eventually(async () => assert.equal(await online(), ["1"]));
});

test("an instance that dies counts no more at once, and the others take its users off after the grace", async () => {
  const [one, two] = [await start(1), await start(2)];
  two.presence.start();
  one.presence.opened("1");
  one.presence.opened("3");
  two.presence.opened("3");
  await eventually(async () => assert.equal(await online(), ["1", "3"]));
  const heard = await updates(async () => {
    await one.die();
    await eventually(async () => assert.equal(await online(), ["3"]));
    await eventually(async () => (await db.sql`select from tidings.presence_instance where instance = 1`).length === 0);
  });
  assert.equal(heard, ["user_2 1 offline", "user_3 1 offline"]);
  assert.equal(two.warnings, []);
});

test("an instance whose LISTEN connection is back within the grace was never dead", async () => {
  const two = await start(2);
  two.presence.start();
  await db.sql`select tidings.presence_open(7, '{1}')`;
  const heard = await updates(async () => {
    await wait(GRACE * 0.7);
    const back = db.connect({ max: 1 });
    await back`select pg_advisory_lock(1953063018, 7)`;
    await wait(2 * GRACE);
    assert.equal(await online(), ["1"]);
    await back.end();
  });
  assert.equal(heard, []);
});

test("after the LISTEN connection was away, or a crash has emptied the table, everything is written again", async () => {
  const one = await start(1);
  one.presence.opened("1");
  await eventually(async () => assert.equal(await online(), ["1"]));
  await db.sql`truncate tidings.presence, tidings.presence_instance`;
  one.presence.restore();
  await eventually(async () => assert.equal(await online(), ["1"]));
});

test("a failed write is tried again, with what has changed meanwhile", async () => {
  const one = await start(1);
  await db.sql`alter table tidings.presence rename to presence_away`;
  one.presence.opened("1");
  one.presence.opened("2");
  await eventually(() => one.warnings.length > 0);
  one.presence.closed("2");
  await db.sql`alter table tidings.presence_away rename to presence`;
  await eventually(async () => assert.equal(await online(), ["1"]), { deadlineMs: 5_000 });
});

test("a user id that is no number stays a text", async () => {
  const one = db.connect({ max: 1 });
  const heard = await ear.hear(() =>
    one.unsafe(`begin;
    create or replace function tidings.presence_audience(user_id text) returns text[] language sql as $$ select '{9}'::text[] $$;
    select tidings.presence_open(5, '{x,012,12}'); commit`),
  );
  assert.equal(heard.map((frame) => frame.event!.user_id).sort(), ["012", 12, "x"]);
});

test.run();
