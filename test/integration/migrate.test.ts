// The migrator on real databases: with fixture folders of SQL for what must be refused, and with the project's own.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { close, connect, type Sql } from "../../src/db/client.ts";
import { type MigrateOptions, migrate, migrationStatus } from "../../src/db/migrate.ts";
import { TidingsError } from "../../src/errors.ts";
import { database, type TestDatabase } from "../helpers/database.ts";

const test = suite("migrate");
const BASE: Record<string, string> = {
  "tidings/migrations/0001_first.sql": "create table tidings.thing (id int primary key);",
  "tidings/functions/a.sql":
    "create or replace function tidings.a() returns int language sql as $$ select tidings.b() $$;",
  "tidings/functions/b.sql": "create or replace function tidings.b() returns int language sql as $$ select 1 $$;",
  "app/migrations/0001_domain.sql": "create table app.item (id int primary key);",
  "app/functions/name.sql": "create or replace function app.name() returns text language sql as $$ select 'app' $$;",
  "app/triggers/item.sql": "create or replace function app.later() returns int language sql as $$ select 2 $$;",
};
const ALL = ["tidings/0001_first", "tidings/functions", "app/0001_domain", "app/functions", "app/triggers"];

let db: TestDatabase;
let folder: string;

/** Writes a folder like sql/ and returns the options that use it; `null` leaves a file out. */
function fixture(changes: Record<string, string | null> = {}, domain = true): MigrateOptions {
  rmSync(folder, { recursive: true, force: true });
  for (const [name, text] of Object.entries({ ...BASE, ...changes })) {
    if (text === null) continue;
    mkdirSync(join(folder, name, ".."), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
  return { domain, root: pathToFileURL(`${folder}/`) };
}

async function refusal(work: Promise<unknown>, code: string, ...texts: (string | RegExp)[]): Promise<void> {
  try {
    await work;
  } catch (error) {
    assert.instance(error, TidingsError, String(error));
    assert.is((error as TidingsError).code, code);
    for (const text of texts) assert.match((error as TidingsError).message, text);
    return;
  }
  throw new Error("it was not refused");
}

async function schemas(sql: Sql = db.sql): Promise<string[]> {
  const rows = await sql<{ nspname: string }[]>`select nspname from pg_namespace where nspname in ('tidings', 'app')`;
  return rows.map(({ nspname }) => nspname).sort();
}

/** Runs `work` with a client of a role that may log in and nothing else, then takes the role away. */
async function asRole(grants: string[], work: (sql: Sql, role: string) => Promise<void>): Promise<void> {
  const role = `role_${db.name}`;
  await db.sql.unsafe(`create role ${role} login password 'secret'`);
  for (const grant of grants) await db.sql.unsafe(grant.replaceAll("ROLE", role).replaceAll("DATABASE", db.name));
  const url = new URL(db.url);
  [url.username, url.password] = [role, "secret"];
  const sql = connect(url.href, { max: 2 });
  try {
    await work(sql, role);
  } finally {
    await close(sql);
    await db.sql.unsafe(`drop owned by ${role} cascade; drop role ${role}`);
  }
}

const names = (steps: { name: string }[]): string[] => steps.map(({ name }) => name);

test.before.each(async () => {
  folder = mkdtempSync(join(tmpdir(), "tidings-sql-"));
  db = await database({ migrate: false });
});
test.after.each(async () => {
  rmSync(folder, { recursive: true, force: true });
  await db.drop();
});

test("an empty database gets everything in order, and a second run does nothing", async () => {
  const options = fixture();
  const lines: string[] = [];
  assert.equal(names(await migrate(db.sql, { ...options, log: (text) => lines.push(text) })), ALL);
  assert.equal(
    lines,
    ALL.map((name) => `${name} applied`),
  );
  const [row] = await db.sql`select tidings.a(), app.name(), app.later()`;
  assert.equal({ ...row }, { a: 1, name: "app", later: 2 });
  assert.equal(await migrate(db.sql, options), []);
});

test("a run with nothing to do writes nothing, works read-only, and waits for no lock", async () => {
  const options = fixture();
  await migrate(db.sql, options);
  const readOnly = connect(`${db.url}?default_transaction_read_only=on`, { max: 1 });
  const holder = await db.sql.reserve();
  try {
    await holder`select pg_advisory_lock(hashtextextended('tidings migrate', 0))`;
    assert.equal(await migrate(readOnly, options), []);
    assert.equal(new Set((await migrationStatus(readOnly, options)).map(({ state }) => state)), new Set(["applied"]));
  } finally {
    await holder`select pg_advisory_unlock_all()`;
    holder.release();
    await close(readOnly);
  }
});

test("20 at once on an empty database all succeed, and each thing is done once", async () => {
  const options = fixture();
  // Under a stricter default a transaction would not see what was done while it waited for the lock.
  const strict = `${db.url}?default_transaction_isolation=serializable`;
  const clients = Array.from({ length: 20 }, (_, n) => connect(n % 2 ? db.url : strict, { max: 1 }));
  const done = await Promise.all(clients.map((sql) => migrate(sql, options)));
  await Promise.all(clients.map((sql) => close(sql)));
  assert.equal(done.filter((steps) => steps.length > 0).map(names), [ALL]);
});

test("without the reference domain only the schema tidings is made, and the domain can be added later", async () => {
  await migrate(db.sql, fixture({}, false));
  assert.equal(await schemas(), ["tidings"]);
  assert.equal(names(await migrate(db.sql, fixture())), ["app/0001_domain", "app/functions", "app/triggers"]);
  assert.equal(await migrate(db.sql, fixture({}, false)), []);
});

test("a dry run tells what is missing and changes nothing", async () => {
  assert.equal(names(await migrate(db.sql, { ...fixture(), dryRun: true })), ALL);
  assert.equal(await schemas(), []);
});

test("a new migration and changed functions are applied, later groups with them, and nothing else", async () => {
  await migrate(db.sql, fixture());
  const options = fixture({
    "tidings/migrations/0002_second.sql": "alter table tidings.thing add column name text",
    "tidings/functions/b.sql": BASE["tidings/functions/b.sql"]!.replace("select 1", "select 7"),
  });
  assert.equal(
    (await migrationStatus(db.sql, options)).map(({ state }) => state),
    ["applied", "pending", "changed", "applied", "changed", "changed"],
  );
  const expected = ["tidings/0002_second", "tidings/functions", "app/functions", "app/triggers"];
  assert.equal(names(await migrate(db.sql, options)), expected);
  assert.is((await db.sql`select tidings.a()`)[0]!.a, 7);
});

test("other line ends are no change", async () => {
  const text = "create table\n  tidings.thing\n  (id int);";
  await migrate(db.sql, fixture({ "tidings/migrations/0001_first.sql": text }));
  const windows = fixture({ "tidings/migrations/0001_first.sql": text.replaceAll("\n", "\r\n") });
  assert.equal(await migrate(db.sql, windows), []);
});

test("a failing file is named with line and reason, and leaves the database as it was", async () => {
  const bad = fixture({
    "app/triggers/item.sql": "-- ünï\ncreate table app.ok (id int);\ncreate table app.item (x nope);",
  });
  await refusal(
    migrate(db.sql, bad),
    "database",
    "sql/app/triggers/item.sql, line 3",
    'type "nope" does not exist',
    "42704",
  );
  assert.equal(await schemas(), []);
  const hint = fixture({ "tidings/functions/b.sql": "do $$ begin raise 'no' using hint = 'do this instead'; end $$" });
  await refusal(migrate(db.sql, hint), "database", "functions/b.sql", "Hint: do this instead", "In: PL/pgSQL");
  assert.equal(names(await migrate(db.sql, fixture())), ALL);
});

test("an applied migration that was changed afterwards is an error", async () => {
  await migrate(db.sql, fixture());
  const changed = fixture({
    "tidings/migrations/0001_first.sql": "create table tidings.thing (id bigint primary key);",
  });
  await refusal(
    migrate(db.sql, changed),
    "database",
    "sql/tidings/migrations/0001_first.sql was changed",
    "new migration",
  );
});

test("misnamed, doubled and belated migrations are errors", async () => {
  const text = "select 1";
  await refusal(migrate(db.sql, fixture({ "tidings/migrations/2_x.sql": text })), "database", "2_x.sql is not named");
  await refusal(migrate(db.sql, fixture({ "tidings/migrations/0001_x.sql": text })), "database", "0001 a second time");
  await migrate(db.sql, fixture({ "tidings/migrations/0003_third.sql": text }));
  const belated = fixture({ "tidings/migrations/0003_third.sql": text, "tidings/migrations/0002_second.sql": text });
  await refusal(migrate(db.sql, belated), "database", "0002_second is new but comes before tidings/0003_third");
});

test("a database that a newer version has migrated is refused", async () => {
  await migrate(db.sql, fixture({ "app/migrations/0002_newer.sql": "select 1" }));
  await refusal(migrate(db.sql, fixture()), "configuration", "newer version (it has app/0002_newer)");
  assert.equal(await migrate(db.sql, fixture({}, false)), []);
});

test("a schema app that is not ours is refused and left alone, unless the domain is off", async () => {
  await db.sql.unsafe("create schema app; create table app.item (theirs int)");
  await refusal(migrate(db.sql, fixture()), "configuration", 'schema "app"', "DOMAIN=off");
  assert.equal(await schemas(), ["app"]);
  await migrate(db.sql, fixture({}, false));
  assert.equal((await db.sql`select column_name from information_schema.columns where table_schema = 'app'`).length, 1);
});

test("a role that may not create schemas is told which privilege is missing", async () => {
  await asRole(["revoke create on database DATABASE from public"], async (sql, role) => {
    await refusal(
      migrate(sql, fixture()),
      "configuration",
      "may not create the schema",
      `"${role}"`,
      "grant create on database",
    );
  });
});

test("a role that may not create in a schema made for it is told, and one that may needs nothing more", async () => {
  await asRole(["create schema tidings"], async (sql) => {
    await refusal(migrate(sql, fixture({}, false)), "configuration", 'may not create in the schema "tidings"');
    await db.sql`drop schema tidings`;
  });
  await asRole(["create schema tidings authorization ROLE"], async (sql) => {
    assert.equal(names(await migrate(sql, fixture({}, false))), ["tidings/0001_first", "tidings/functions"]);
  });
});

test("a role that may not read what is recorded is told how to get there", async () => {
  await migrate(db.sql, fixture());
  await asRole([], (sql) =>
    refusal(migrate(sql, fixture()), "configuration", "may not read tidings.migration", "grant"),
  );
});

test("the search_path and limits of the role change nothing", async () => {
  await db.sql.unsafe("create schema trap; create table trap.thing (id int)");
  const url = `${db.url}?search_path=trap&default_transaction_isolation=serializable&statement_timeout=300`;
  const odd = connect(url, { max: 1 });
  try {
    const slow = `${BASE["tidings/migrations/0001_first.sql"]} select pg_sleep(0.5);`;
    const unqualified = "create table loose (id int);";
    await migrate(odd, fixture({ "tidings/migrations/0001_first.sql": slow }));
    const loose = fixture({
      "tidings/migrations/0001_first.sql": slow,
      "tidings/migrations/0002_loose.sql": unqualified,
    });
    await refusal(migrate(odd, loose), "database", "0002_loose.sql");
  } finally {
    await close(odd);
  }
});

test("missing SQL files are told as a broken installation", async () => {
  await refusal(
    migrate(db.sql, { domain: true, root: pathToFileURL(`${folder}/nowhere/`) }),
    "configuration",
    "install it again",
  );
});

test("a server that is not there is an error of the database, with the address and no password in it", async () => {
  const sql = connect("postgres://someone:s3cret@127.0.0.1:1/none", { max: 1 });
  try {
    await refusal(migrate(sql, fixture()), "database", /ECONNREFUSED/);
  } finally {
    await close(sql);
  }
});

test("the project's own files migrate, and a second run has nothing to do", async () => {
  const first = await migrate(db.sql, { domain: true });
  assert.ok(names(first).includes("tidings/functions"));
  assert.equal(await migrate(db.sql, { domain: true }), []);
  const [row] = await db.sql`select obj_description('app'::regnamespace, 'pg_namespace') as comment`;
  assert.is(row!.comment, "tidings reference domain");
});

test.run();
