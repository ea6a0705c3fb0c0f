/** What doctor says of a feed beyond NOTIFY: each thing that is missing, and the statement that mends it. */
// @timeout 60
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { Finding } from "../../src/cli/doctor.ts";
import { feed } from "../../src/cli/doctor_feed.ts";
import { readConfig } from "../../src/config.ts";
import type { Sql } from "../../src/db/client.ts";
import { database, type TestDatabase } from "../helpers/database.ts";
import { ENGINE_PACKAGES, engine, engineProgram } from "../helpers/engine.ts";

const test = suite("doctor of feeds");
let db: TestDatabase;

test.before(async () => {
  db = await database({ domain: false });
});
test.after(() => db?.drop());

function examine(env: Record<string, string>, sql: Sql = db.sql): Promise<Finding> {
  const config = readConfig(env);
  const found = { config, url: db.url, listenUrl: db.url, embedded: false, stop: async () => {} };
  return feed({ sql, database: found, fix: false, progress() {} });
}

test("nothing is asked for by NOTIFY, and all is there for the owner of a database with logical decoding", async () => {
  assert.is((await examine({})).state, "ok");
  assert.match((await examine({ FEED: "wal" })).text, /^the WAL can be read; \d+ slots and WAL senders are free/);
});

test("a role without REPLICATION, and a missing publication, are told with the statement that mends them", async () => {
  const role = `doctor_${db.name.slice(-12)}`;
  await db.sql.unsafe(`create role ${role} login; grant ${role} to current_user`);
  await db.sql`select tidings.grant_server(${role}::text::regrole)`;
  const as = db.connect({ max: 1 });
  await as.unsafe(`set role ${role}`);
  try {
    const refused = await examine({ FEED: "wal" }, as);
    assert.equal([refused.state, refused.mend], ["fail", `alter role "${role}" replication`]);
    await db.sql.unsafe(refused.mend!);
    const missing = await examine({ FEED: "wal" }, as);
    assert.is(missing.state, "fail");
    await db.sql.unsafe(missing.mend!.replace(/^.*?: /, ""));
    assert.is((await examine({ FEED: "wal" }, as)).state, "ok");
  } finally {
    await as`reset role`;
    await db.sql.unsafe(`drop publication if exists tidings; drop owned by ${role}; drop role ${role}`);
  }
});

test("a bus that is not there is told, without its address", async () => {
  const { state, text } = await examine({ FEED: "bus", BUS_URL: "redis://user:hunter2@127.0.0.1:1" });
  assert.is(state, "fail");
  assert.match(text, /^the bus cannot be used: /);
  assert.not.match(text, "hunter2");
});

for (const name of ["redis", "nats"] as const) {
  const run = engineProgram(name) ? test : test.skip;
  run(`a bus that answers is well (${ENGINE_PACKAGES[name]})`, async () => {
    const bus = await engine(name);
    const { state, text } = await examine({ FEED: "bus", BUS_URL: bus.url });
    await bus.stop("SIGKILL");
    assert.equal([state, text], ["ok", "the bus answers; its relay reads the WAL"]);
  });
}

test.run();
