/** What reading the WAL needs of the publication: found at the start, at each reconnect and in between, and never made do without. */
// @timeout 60
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { Finding } from "../../src/cli/doctor.ts";
import { feed } from "../../src/cli/doctor_feed.ts";
import { readConfig } from "../../src/config.ts";
import { close, connect } from "../../src/db/client.ts";
import { partition } from "../../src/db/partition.ts";
import { createWal, type Wal } from "../../src/db/wal.ts";
import type { TidingsError } from "../../src/errors.ts";
import { closeClients, type SocketClient, socket } from "../helpers/clients.ts";
import { database, type TestDatabase } from "../helpers/database.ts";
import { eventually } from "../helpers/eventually.ts";
import { type Instance, instance } from "../helpers/instance.ts";
import { store } from "../helpers/streams.ts";

const test = suite("wal needs");
const TIMING = { sweepMs: [60_000, 60_000], beatMs: 100, beatTimeoutMs: 1_000 } as const;
const TABLE = "tidings.notification";
const RIGHT = "publish = 'insert', publish_via_partition_root = true";
const MEND = {
  settings: `alter publication tidings set (${RIGHT})`,
  viaRoot: "alter publication tidings set (publish_via_partition_root = true)",
  add: `alter publication tidings add table ${TABLE}`,
  anew: `alter publication tidings drop table ${TABLE}; alter publication tidings add table ${TABLE}`,
};
const running: Instance[] = [];
const reading: Wal[] = [];
let db: TestDatabase;

async function start(url = db.url): Promise<Instance> {
  const one = await instance(url, { timing: TIMING, env: { FEED: "wal" } });
  running.push(one);
  return one;
}
const refusal = (url?: string): Promise<string> =>
  start(url).then(
    () => "it started",
    (error: TidingsError) => `${error.code}: ${error.message}`,
  );
const refusedWith = (text: string, mend: string): string =>
  `configuration: The WAL cannot be read: the publication tidings ${text}. What mends it: ${mend}.`;

function examine(): Promise<Finding> {
  const found = { config: readConfig({ FEED: "wal" }), url: db.url, listenUrl: db.url, embedded: false };
  return feed({ sql: db.sql, database: { ...found, stop: async () => {} }, fix: false, progress() {} });
}
const untilFed = (wanted: boolean): Promise<unknown> =>
  eventually(async () => {
    const [row] = await db.sql<{ fed: boolean }[]>`select tidings.fed_by_wal() as fed`;
    assert.is(row!.fed, wanted);
  });
const slots = async (): Promise<string[]> =>
  (await db.sql`select slot_name as slot from pg_replication_slots where database = current_database()`).map(
    ({ slot }) => slot,
  );
const major = async (): Promise<number> => {
  const [row] = await db.sql<{ n: number }[]>`select current_setting('server_version_num')::int / 10000 as n`;
  return row!.n;
};

async function listenTo(app: Instance, user: number): Promise<SocketClient> {
  const client = await socket(`${app.ws}/ws/notifications/`, { headers: await app.auth(user) });
  await client.find("ready");
  return client;
}
/** An entry is stored, and heard. */
async function hears(client: SocketClient, text: string): Promise<void> {
  await store(db.sql, 7, { message: text });
  await client.find((frame) => frame.data?.message === text, 5_000);
}
const partitioned = (): Promise<boolean> =>
  partition(db.url, {
    partitions: 2,
    batch: 1_000,
    signal: new AbortController().signal,
    tell() {},
    progress() {},
  });

/** The WAL alone. The publication is not looked at while it is read. */
function read(url = db.url): { wal: Wal; told: unknown[]; errors: string[]; ups(): number } {
  const [told, errors]: [unknown[], string[]] = [[], []];
  let ups = 0;
  const wal = createWal({
    url,
    connection: () => null,
    onCommit: (_xid, all) => told.push(...(all ?? []).map((one) => (typeof one === "string" ? one : one.message))),
    onUp: () => ups++,
    onDown() {},
    onError: (error) => errors.push(error.message),
  });
  reading.push(wal);
  return { wal, told, errors, ups: () => ups };
}
const endSenders = (): Promise<unknown> =>
  db.sql`select pg_terminate_backend(active_pid) from pg_replication_slots where database = current_database()`;

test.before.each(async () => {
  db = await database();
});
test.after.each(async () => {
  closeClients();
  await Promise.all(reading.splice(0).map((one) => one.stop()));
  await Promise.all(running.splice(0).map((one) => one.stop()));
  await db.drop();
});

interface Wrong {
  readonly what: string;
  readonly made: string;
  readonly text: string;
  readonly mend: string;
  /** Postgres has such a thing since this version. */
  readonly since?: number;
}

const WRONG: readonly Wrong[] = [
  { what: "of nothing", made: `with (${RIGHT})`, text: `does not publish ${TABLE}`, mend: MEND.add },
  {
    what: "of another table",
    made: `for table tidings.inbox with (${RIGHT})`,
    text: `does not publish ${TABLE}`,
    mend: MEND.add,
  },
  {
    what: "without inserts",
    made: `for table ${TABLE} with (publish = 'truncate', publish_via_partition_root = true)`,
    text: "publishes no inserts",
    mend: MEND.settings,
  },
  {
    what: "of all tables, without inserts",
    made: "for all tables with (publish = 'truncate')",
    text: "publishes no inserts",
    mend: MEND.settings,
  },
  {
    what: "that would not outlive a partitioning",
    made: `for table ${TABLE} with (publish = 'insert')`,
    text: "publishes partitions under their own names",
    mend: MEND.viaRoot,
  },
  {
    what: "with a filter",
    made: `for table ${TABLE} where (user_id <> '7') with (${RIGHT})`,
    text: `leaves out rows of ${TABLE}`,
    mend: MEND.anew,
    since: 15,
  },
  {
    what: "with a list of columns",
    made: `for table ${TABLE} (user_id, id, message) with (${RIGHT})`,
    text: `leaves out columns of ${TABLE}`,
    mend: MEND.anew,
    since: 15,
  },
];

for (const { what, made, text, mend, since = 14 } of WRONG) {
  test(`a publication ${what} is refused with what mends it, and doctor says the same`, async () => {
    if ((await major()) < since) return;
    await db.sql.unsafe(`create publication tidings ${made}`);
    assert.is(await refusal(), refusedWith(text, mend));
    assert.equal(await examine(), { state: "fail", text: `the publication tidings ${text}`, mend });
    await db.sql.unsafe(mend);
    assert.is((await examine()).state, "ok");
    const client = await listenTo(await start(), 7);
    await untilFed(true);
    await hears(client, "by the WAL");
  });
}

test("a publication of the partitions, under their own names or one of them alone, is refused", async () => {
  await partitioned();
  await db.sql.unsafe(`create publication tidings for table ${TABLE}`);
  assert.is(await refusal(), refusedWith("publishes partitions under their own names", MEND.viaRoot));
  const [leaf] = await db.sql`select inhrelid::regclass::text as name from pg_inherits
    where inhparent = ${TABLE}::regclass limit 1`;
  await db.sql.unsafe(`alter publication tidings set table ${leaf!.name}`);
  await db.sql.unsafe(MEND.viaRoot);
  assert.is(await refusal(), refusedWith(`does not publish ${TABLE}`, MEND.add));
  await db.sql.unsafe(MEND.add);
  const client = await listenTo(await start(), 7);
  await untilFed(true);
  await hears(client, "by the WAL");
});

const ENOUGH: [what: string, made: string, since: number][] = [
  ["of all tables", `for all tables with (${RIGHT})`, 14],
  ["of the schema", `for tables in schema tidings with (${RIGHT})`, 15],
  ["with a list of all columns", `for table ${TABLE} (COLUMNS) with (${RIGHT})`, 15],
];
for (const [what, made, since] of ENOUGH) {
  test(`a publication ${what} will do, partitioned too`, async () => {
    if ((await major()) < since) return;
    const [row] = await db.sql`select string_agg(attname, ', ') as columns from pg_attribute
      where attrelid = ${TABLE}::regclass and attnum > 0`;
    await db.sql.unsafe(`create publication tidings ${made.replace("COLUMNS", row!.columns)}`);
    const client = await listenTo(await start(), 7);
    await untilFed(true);
    await hears(client, "plain");
    await partitioned();
    await untilFed(true);
    await hears(client, "partitioned");
  });
}

test("who may not alter the publication is told who may", async () => {
  const [server, other] = ["server", "other"].map((name) => `wal_${name}_${db.name.slice(-12)}`);
  await db.sql.unsafe(`create role ${server} login replication password 'only for this test'; create role ${other}`);
  await db.sql`select tidings.grant_server(${server!}::text::regrole)`;
  await db.sql.unsafe(`create publication tidings with (${RIGHT}); alter publication tidings owner to ${other}`);
  const url = Object.assign(new URL(db.url), { username: server, password: "only for this test" }).href;
  try {
    const mend = `as the role "${other}": ${MEND.add}`;
    assert.is(await refusal(url), refusedWith(`does not publish ${TABLE}`, mend));
    await db.sql`drop publication tidings`;
    assert.match(
      await refusal(url),
      /tidings is missing.*as the role that migrates: create publication tidings for table/,
    );
  } finally {
    const admin = connect(db.url, { max: 1 });
    await admin.unsafe(`drop owned by ${server}, ${other}; drop role ${server}, ${other}`);
    await close(admin);
  }
});

for (const [made, mend] of [
  [`alter publication tidings drop table ${TABLE}`, MEND.add],
  ["alter publication tidings set (publish = 'update')", MEND.settings],
]) {
  test(`while it is read, "${made}" is noticed: NOTIFY until it is mended`, async () => {
    const app = await start();
    const client = await listenTo(app, 7);
    await untilFed(true);
    await hears(client, "before");
    await db.sql.unsafe(made!);
    await hears(client, "at once");
    await untilFed(false);
    await hears(client, "by NOTIFY");
    assert.equal(await slots(), []);
    const warnings = app.log.filter((line) => line.startsWith("warn") && line.includes("What mends it"));
    assert.is(warnings.length, 1);
    assert.ok(warnings[0]!.includes(mend!), warnings[0]);
    await db.sql.unsafe(mend!);
    await untilFed(true);
    await hears(client, "by the WAL");
    assert.is(client.all("notification").length, 4);
  });
}

test("what is found wrong when it is to be read again is told, once", async () => {
  const app = await start();
  await untilFed(true);
  await db.sql.begin(async (sql) => {
    await sql.unsafe("alter publication tidings set table tidings.inbox");
    await sql`select pg_terminate_backend(active_pid) from pg_replication_slots where database = current_database()`;
  });
  await eventually(() => assert.ok(app.log.some((line) => line.startsWith("warn") && line.includes(MEND.add))));
  // some attempts more
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  await db.sql.unsafe(MEND.add);
  await untilFed(true);
  assert.is(app.log.filter((line) => line.startsWith("warn") && line.includes(MEND.add)).length, 1);
});

test("while it is read, a publication that is dropped or replaced is noticed, and made again", async () => {
  const client = await listenTo(await start(), 7);
  for (const change of ["drop publication tidings", MEND.anew]) {
    await untilFed(true);
    const before = await slots();
    const [first, ...rest] = change.split("; ");
    await db.sql.unsafe(first!);
    await store(db.sql, 7, { message: change });
    for (const statement of rest) await db.sql.unsafe(statement);
    await client.find((frame) => frame.data?.message === change, 5_000);
    await eventually(async () => {
      const after = await slots();
      assert.ok(after.length === 1 && after[0] !== before[0]);
    });
  }
  await untilFed(true);
  await hears(client, "by the WAL");
});

test("what is wrong at the first attempt rejects; what is wrong at a reconnect is never read from, and tried again", async () => {
  await db.sql.unsafe(`create publication tidings with (${RIGHT})`);
  const error = await read()
    .wal.start()
    .catch((thrown: TidingsError) => thrown);
  assert.is(`${error?.code}: ${error?.message}`, refusedWith(`does not publish ${TABLE}`, MEND.add));
  await db.sql.unsafe(MEND.add);
  const { wal, told, errors, ups } = read();
  await wal.start();
  await store(db.sql, 7, { message: "right" });
  await eventually(() => assert.equal(told, ["right"]));
  await db.sql.unsafe(`alter publication tidings set table tidings.inbox`);
  await endSenders();
  await eventually(() => assert.ok(errors.filter((text) => text.includes(MEND.add)).length >= 2, errors.join("\n")));
  assert.is(ups(), 1);
  await db.sql.unsafe(MEND.add);
  await eventually(() => assert.is(ups(), 2));
  await store(db.sql, 7, { message: "mended" });
  await eventually(() => assert.equal(told, ["right", "mended"]));
});

test("a publication that is altered while the slot waits for an open transaction is not read from", async () => {
  const open = db.connect({ max: 1 });
  await open`begin`;
  await store(open, 8, { message: "open" });
  const { wal, errors } = read();
  const started = wal.start();
  started.catch(() => {});
  await eventually(async () => assert.is((await slots()).length, 1));
  await db.sql.unsafe(`alter publication tidings set table tidings.inbox`);
  await open`commit`;
  const error = await started.catch((thrown: TidingsError) => thrown);
  assert.is(`${error?.code}: ${error?.message}`, refusedWith(`does not publish ${TABLE}`, MEND.add));
  assert.is(errors.length, 1);
});

test("a connection that is lost while the publication is made costs a moment, not the WAL", async () => {
  const inTheWay = db.connect({ max: 1 });
  await inTheWay`begin`;
  await inTheWay`lock table tidings.notification in share update exclusive mode`;
  const client = await listenTo(await start(), 7);
  await hears(client, "by NOTIFY");
  await eventually(async () => {
    const ended = await db.sql`select application_name as name, pg_terminate_backend(pid) from pg_stat_activity
      where query like 'create publication%' and wait_event_type = 'Lock' and datname = current_database()`;
    assert.equal(
      ended.map(({ name }) => name),
      ["tidings wal"],
    );
  });
  await inTheWay`rollback`;
  await untilFed(true);
  await hears(client, "by the WAL");
});

test.run();
