/**
 * `tidings partition` on a service that is running: streams stay open, nothing is lost or doubled, nobody fails or waits long, it may be
 * killed at any moment, it can be undone, and afterwards everything is as before, but for the partitions.
 */
// @alone
// @timeout 120
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { endAll, tidings } from "../helpers/cli.ts";
import { closeClients, type SocketClient, socket } from "../helpers/clients.ts";
import { database, type TestDatabase } from "../helpers/database.ts";
import { eventually } from "../helpers/eventually.ts";
import { type Instance, instance } from "../helpers/instance.ts";
import { store } from "../helpers/streams.ts";
import { traffic } from "../helpers/traffic.ts";
import { checkInvariants } from "../sql/scene.ts";

const test = suite("partition");
const USERS = 40;
/** Milliseconds no writer may wait: the lock timeouts, and a loaded machine. */
const LONGEST_WAIT = 1_000;
let db: TestDatabase;
const apps: Instance[] = [];

test.before.each(async () => {
  db = await database();
});
test.after.each(async () => {
  closeClients();
  await endAll();
  for (const app of apps.splice(0)) await app.stop();
  await db.drop();
});

const partition = (...args: string[]) => tidings(["partition", ...args], { DATABASE_URL: db.url });

async function run(args: string[], url = db.url): Promise<{ code: number | null; out: string; err: string }> {
  const cli = tidings(args, { DATABASE_URL: url });
  const { code } = await cli.exited;
  return { code, out: cli.stdout(), err: cli.stderr() };
}

/** As a table of such a size comes about: `each` entries of every user, in the order of time. */
async function fill(each: number): Promise<void> {
  for (let done = 0; done < each; done += 25) {
    await db.sql`select tidings.broadcast(array(select generate_series(1, ${USERS})::bigint), 'Title', 'Message ' || n, 'note')
      from generate_series(1, 25) n`;
  }
}

async function streams(feed: string): Promise<SocketClient[]> {
  const app = await instance(db.url, { env: { FEED: feed } });
  apps.push(app);
  const users = Array.from({ length: USERS }, (_, at) => at + 1);
  const open = users.map(async (user) => socket(`${app.ws}/ws/notifications/`, { headers: await app.auth(user) }));
  const all = await Promise.all(open);
  await Promise.all(all.map((one) => one.find("ready")));
  return all;
}

/** Each stream got every entry since it opened, once and in order, up to the newest. */
async function checkStreams(all: readonly SocketClient[]): Promise<number> {
  let arrived = 0;
  for (const [at, one] of all.entries()) {
    await store(db.sql, at + 1, { message: "the end" });
    await one.find((frame) => frame.data?.message === "the end");
    const ids = one.all("notification").map(({ id }) => id!);
    const first = (one.frames[0]!.data!.last_event_id as number) + 1;
    assert.equal(
      ids,
      ids.map((_, n) => first + n),
      `user ${at + 1}`,
    );
    const [row] = await db.sql`select last_id from tidings.inbox where user_id = ${String(at + 1)}`;
    assert.is(ids.at(-1), row!.last_id);
    assert.equal(one.all("reset"), []);
    arrived += ids.length;
  }
  return arrived;
}

const layout = async (): Promise<{ kind: string; old: boolean; job: boolean }> => {
  const [row] =
    await db.sql`select (select relkind::text from pg_class where oid = 'tidings.notification'::regclass) as kind,
    to_regclass('tidings.notification_old') is not null as old, to_regclass('tidings.partition_job') is not null as job`;
  return { kind: row!.kind, old: row!.old, job: row!.job };
};

/** How much of the table is copied, from 0 to 1; null before and after. */
async function copied(): Promise<number | null> {
  if (!(await layout()).job) return null;
  const [row] = await db.sql`select next_block::float8 / end_block as share from tidings.partition_job`;
  return row?.share ?? null;
}

const busy = (): ReturnType<typeof traffic> => traffic(db.connect({ max: 6, name: "traffic" }), USERS);

function report(what: string, { waits }: ReturnType<typeof traffic>): void {
  const sorted = waits.sort((a, b) => a - b);
  const at = (share: number): string => sorted[Math.floor((sorted.length - 1) * share)]!.toFixed(0);
  console.log(`${what}: ${sorted.length} statements, p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, longest ${at(1)} ms`);
}

for (const feed of ["notify", "wal"]) {
  test(`with streams open and everybody writing: nothing is lost or doubled, nobody fails, nobody waits long (${feed})`, async () => {
    await fill(500);
    const open = await streams(feed);
    const writing = busy();
    await eventually(() => writing.waits.length > 100);
    const { code, out, err } = await run(["partition", "--partitions", "8", "--batch", "300"]);
    assert.equal([code, err], [0, ""], out);
    assert.match(out, /entries compared and equal/);
    assert.match(out, /Exchanged in \d+ ms/);
    const during = writing.waits.length;
    await eventually(() => writing.waits.length > during + 200);
    await writing.stop();
    assert.equal(writing.failures, []);
    report("while it was partitioned", writing);
    assert.ok(writing.waits.at(-1)! < LONGEST_WAIT, "somebody waited");
    assert.equal(await layout(), { kind: "p", old: true, job: false });
    const slots = await db.sql`select from pg_replication_slots where database = current_database() and active`;
    assert.is(slots.length, feed === "wal" ? 1 : 0, "the feed is the one that was asked for");
    await checkInvariants(db.sql);
    console.log(`${out.trim()}\n${await checkStreams(open)} frames, each once and in order`);
    assert.equal(
      apps[0]!.log.filter((line) => line.startsWith("error")),
      [],
    );
    assert.match((await run(["doctor"])).out, "All is well.");
  });
}

test("asked to stop, killed, and run twice at once: it goes on where it was, and what was written meanwhile is there", async () => {
  await fill(300);
  const writing = busy();
  const begin = async (): Promise<ReturnType<typeof partition>> => {
    const before = (await copied()) ?? 0;
    const cli = partition("--batch", "40");
    await eventually(async () => ((await copied()) ?? 0) > before + 0.1);
    return cli;
  };
  const asked = await begin();
  asked.kill("SIGINT");
  assert.is((await asked.exited).code, 1);
  assert.match(asked.stderr(), "stopped; run it again to go on");
  const killed = await begin();
  // it stays where it is, and holds on to the job
  killed.kill("SIGSTOP");
  const second = await run(["partition"]);
  assert.is(second.code, 1);
  assert.match(second.err, "Somebody else is partitioning");
  killed.kill("SIGKILL");
  await killed.exited;
  const share = (await copied())!;
  assert.ok(share > 0.2 && share < 1, String(share));
  const status = await run(["partition", "--status"]);
  assert.is(status.code, 1);
  assert.match(status.out, /under way: 16 partitions, \d+ % copied/);
  const unseen = writing.waits.length;
  await eventually(() => writing.waits.length > unseen + 100);
  const { code, out } = await run(["partition", "--batch", "400"]);
  assert.is(code, 0);
  assert.match(out, /^Going on at [2-9]\d %, with 16 partitions/);
  await writing.stop();
  assert.equal(writing.failures, []);
  await checkInvariants(db.sql);
  const again = await run(["partition"]);
  assert.equal([again.code, again.out], [0, "Nothing to do: tidings.notification has 16 partitions.\n"]);
});

/** Everything of ours in the catalogs, by name and number. */
const catalog = async (): Promise<string[]> =>
  (
    await db.sql<{ line: string }[]>`
    select line from (
      select 'class ' || oid || ' ' || relname || ' ' || coalesce(relacl::text, '') || relhastriggers from pg_class where relnamespace = 'tidings'::regnamespace
      union all select 'trigger ' || oid || ' ' || tgname from pg_trigger where tgrelid = 'tidings.notification'::regclass
      union all select 'function ' || oid || ' ' || proname from pg_proc where pronamespace = 'tidings'::regnamespace) l(line) order by 1`
  ).map(({ line }) => line);

test("undoing it leaves nothing behind; while it is under way the table cannot be emptied", async () => {
  await fill(200);
  const before = await catalog();
  const cli = partition("--batch", "20");
  await eventually(async () => ((await copied()) ?? 0) > 0.1);
  cli.kill("SIGKILL");
  await cli.exited;
  const refused = await db.sql`truncate tidings.notification`.catch((error: { code: string; hint: string }) => error);
  assert.match((refused as { hint: string }).hint, "tidings partition --abort");
  await db.sql`alter table tidings.notification add column later text`;
  const altered = await run(["partition"]);
  assert.is(altered.code, 1);
  assert.match(altered.err, "was altered since its partitioning began: say `tidings partition --abort`");
  await db.sql`alter table tidings.notification drop column later`;
  const { code, out } = await run(["partition", "--abort"]);
  assert.equal([code, out], [0, "Undone: tidings.notification is as it was.\n"]);
  assert.equal(await catalog(), before);
  assert.is((await run(["partition", "--abort"])).out, "Nothing is under way.\n");
  await store(db.sql, 1);
  await checkInvariants(db.sql);
});

test("a table that is rewritten meanwhile is copied anew", async () => {
  await fill(200);
  await db.sql`select tidings.mark(user_id, 3, 'archived') from tidings.inbox`;
  const cli = partition("--batch", "20");
  await eventually(async () => ((await copied()) ?? 0) > 0.3);
  cli.kill("SIGKILL");
  await cli.exited;
  await db.sql`delete from tidings.notification where user_id = '1'`;
  await db.sql`delete from tidings.inbox where user_id = '1'`;
  await db.sql`vacuum full tidings.notification`;
  assert.is((await run(["partition"])).code, 0);
  await checkInvariants(db.sql);
});

test("a snapshot from before holds the exchange up, and never misses an entry; writers go on", async () => {
  await fill(50);
  const reader = await db.connect({ max: 1 });
  await reader`begin isolation level repeatable read`;
  const [seen] = await reader`select sum(last_id)::int as many from tidings.inbox`;
  const writing = busy();
  const cli = partition();
  await eventually(() => /attempts so far: the transaction of pid \d+, open since/.test(cli.stdout()), {
    deadlineMs: 60_000,
  });
  const [read] = await reader`select count(*)::int as many from tidings.notification`;
  assert.equal(read, seen);
  await reader`commit`;
  assert.is((await cli.exited).code, 0);
  await writing.stop();
  assert.equal(writing.failures, []);
  report("while it was held up", writing);
  assert.ok(writing.waits.at(-1)! < LONGEST_WAIT, "somebody waited");
  await checkInvariants(db.sql);
});

test.run();
