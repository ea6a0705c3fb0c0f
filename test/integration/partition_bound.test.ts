/**
 * What `tidings partition` leaves: the same rows, and everything that was bound to the table as it was. Who may do it, what is refused,
 * and that pruning, upgrades and sessions from before work on a partitioned table.
 */
// @timeout 60
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { migrate } from "../../src/db/migrate.ts";
import { endAll, tidings } from "../helpers/cli.ts";
import { database, type TestDatabase } from "../helpers/database.ts";
import { store, storeMany } from "../helpers/streams.ts";
import { checkInvariants, codeOf, entriesOf } from "../sql/scene.ts";

const test = suite("what is bound to a partitioned table");
let db: TestDatabase;

test.before.each(async () => {
  db = await database({ domain: false });
});
test.after.each(async () => {
  await endAll();
  await db.drop();
});

async function run(args: string[], url = db.url): Promise<{ code: number | null; out: string; err: string }> {
  const cli = tidings(args, { DATABASE_URL: url, DOMAIN: "off" });
  const { code } = await cli.exited;
  return { code, out: cli.stdout(), err: cli.stderr() };
}

async function partitioned(): Promise<void> {
  const { code, err } = await run(["partition", "--partitions", "4"]);
  assert.equal([code, err], [0, ""]);
}

/** An owner's own things around the table. */
const AROUND = `
  create view reading as select user_id, count(*) filter (where is_read) as read from tidings.notification group by user_id;
  create view guarded with (security_barrier = true) as select title from tidings.notification where title is not null with local check option;
  comment on view guarded is 'a view';
  create function counted() returns bigint language sql begin atomic select count(*) from tidings.notification; end;
  create function titled(n tidings.notification) returns text language sql as 'select n.title';
  create function newest(of_user text) returns setof tidings.notification language sql as
    'select * from tidings.notification n where n.user_id = of_user order by id desc limit 1';
  comment on function newest(text) is 'a function';
  create table heard (n bigint generated always as identity, what text);
  create function hear() returns trigger language plpgsql security definer as
    $$ begin insert into public.heard (what) values (tg_op || ' ' || tg_name); return null; end $$;
  create trigger hear_each after update on tidings.notification for each row when (new.is_read) execute function hear();
  create trigger hear_all after delete on tidings.notification for each statement execute function hear();
  create trigger hear_never after update on tidings.notification for each row execute function hear();
  alter table tidings.notification disable trigger hear_never, enable always trigger hear_all;
  create index by_title on tidings.notification (lower(title)) where title <> '';
  comment on index tidings.by_title is 'an index';
  create statistics tidings.of_types (dependencies) on user_id, type from tidings.notification;
  alter table tidings.notification set (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);
  alter table tidings.notification alter type set statistics 500, alter type set (n_distinct = 40), alter data set storage external;
  alter table tidings.notification add constraint short check (length(title) < 1000), replica identity full;
  comment on table tidings.notification is 'a table';
  create publication all_of_it for table tidings.notification with (publish = 'insert', publish_via_partition_root = true);
  revoke execute on function newest(text) from public;
  grant select on tidings.notification to ROLE with grant option;
  grant update (title) on tidings.notification to ROLE;
  grant execute on function newest(text) to ROLE;`;

/** All that as the catalogs tell it; what is only said of partitions, of one of them. */
const bound = async (role: string): Promise<string[]> =>
  (
    await db.sql.unsafe<{ line: string }[]>(
      `with t as (select 'tidings.notification'::regclass as oid),
        leaf as (select coalesce((select max(inhrelid) from pg_inherits where inhparent = t.oid), t.oid) as oid from t)
      select line from (
        select concat(c.oid::regclass, array_to_string(reloptions, ' '), pg_get_viewdef(c.oid), obj_description(c.oid)) from pg_class c
          where relkind = 'v' and relname in ('reading', 'guarded', 'notifications')
        union all select concat(pg_get_functiondef(p.oid), array(select unnest(coalesce(proacl, acldefault('f', proowner)))::text order by 1), obj_description(p.oid)) from pg_proc p
          where proname in ('counted', 'titled', 'newest', 'mark')
        union all select pg_get_triggerdef(g.oid) || tgenabled::text from pg_trigger g, t where tgrelid = t.oid and not tgisinternal
        union all select regexp_replace(pg_get_indexdef(indexrelid), ' ON (ONLY )?', ' ON ') || coalesce(obj_description(indexrelid), '') from pg_index, t where indrelid = t.oid
        union all select conname || pg_get_constraintdef(k.oid) from pg_constraint k, t where conrelid = t.oid and contype <> 'n'
        union all select stxkind::text || stxkeys::text from pg_statistic_ext, t where stxrelid = t.oid
        union all select attname || attstorage::text || coalesce(attstattarget, -1) || coalesce(attoptions::text, '') || coalesce(attacl::text, '')
          || coalesce(col_description(t.oid, attnum), '') from pg_attribute, t where attrelid = t.oid and attnum > 0
        union all select 'table ' || relowner || array(select unnest(relacl)::text order by 1)::text || obj_description(c.oid) from pg_class c join t using (oid)
        union all select 'leaf ' || reloptions::text || relreplident::text from pg_class c join leaf using (oid)
        union all select 'published ' || pubname || coalesce(rowfilter, '') || attnames::text from pg_publication_tables where tablename = 'notification'
        union all select 'may ' || has_table_privilege('${role}', t.oid, 'select with grant option') from t) l(line)`,
    )
  )
    .map(({ line }) => line)
    .sort();

test("rows, views, functions, triggers, indexes, rights, publications, comments and settings are as they were", async () => {
  const role = `reader_${db.name.slice(-12)}`;
  await db.sql.unsafe(`create role ${role}`);
  try {
    for (const user of ["a", "b", "c", "d", "e"]) await storeMany(db.sql, user, 30);
    await db.sql`select tidings.grant_server(${role}::text::regrole)`;
    await db.sql.unsafe(AROUND.replaceAll("ROLE", role));
    await db.sql`select tidings.mark_all_read('a'), tidings.mark('b', 2, 'archived')`;
    const before = await bound(role);
    await partitioned();
    assert.equal(await bound(role), before);
    const [rows] = await db.sql`select count(*)::int as many from (
      (select * from tidings.notification except all select * from tidings.notification_old) union all
      (select * from tidings.notification_old except all select * from tidings.notification)) difference`;
    assert.is(rows!.many, 0);
    await db.sql`truncate heard`;
    await db.sql`select tidings.mark('c', 1, 'read')`;
    assert.equal(
      (await db.sql`select what from heard`).map(({ what }) => what),
      ["UPDATE hear_each"],
    );
    const [row] = await db.sql`select counted()::int, (select read::int from reading where user_id = 'c') as read,
      (select titled(n) from newest('c') n) as title`;
    assert.equal({ ...row }, { counted: 150, read: 1, title: "Title" });
    const byHand = db.sql`insert into tidings.notification (user_id, id, type, created_at) values ('a', 99, 'x', now())`;
    assert.is(await codeOf(byHand), "0A000");
    assert.equal((await run(["partition", "--drop-old"])).out, "Dropped tidings.notification_old.\n");
    assert.equal(await bound(role), before);
    const names = await db.sql`select relname from pg_class where relnamespace = 'tidings'::regnamespace
      and (relname ~ '_(old|new)$' or relname like 'partition%')`;
    assert.equal([...names], []);
  } finally {
    await db.sql.unsafe(`drop owned by ${role}; drop role ${role}`);
  }
});

test("sessions from before go on with what they had prepared, also when the old table is gone", async () => {
  const session = db.connect({ max: 1 });
  const turn = async (): Promise<void> => {
    await store(session, "u");
    const [row] = await session`select last_id from tidings.inbox where user_id = 'u'`;
    const id = row!.last_id as number;
    assert.is((await session`select * from tidings.mark('u', ${id}::bigint, 'read')`)[0]!.id, id);
    assert.is((await session`select tidings.explain('u', ${id}::bigint) ->> 'is_read' as read`)[0]!.read, "true");
    assert.is(
      (await session`select id from tidings.notifications where user_id = 'u' and id = ${id}::bigint`).length,
      1,
    );
    await session`select tidings.unread('u'), tidings.recount('u'), tidings.prune(now() - interval '30 days')`;
    await store(session, "u", { event: { type: "x" }, message: null });
  };
  for (let n = 0; n < 8; n++) await turn(); // past the driver's and plpgsql's first plans
  await partitioned();
  for (let n = 0; n < 8; n++) await turn();
  await run(["partition", "--drop-old"]);
  await turn();
  await checkInvariants(db.sql);
});

test("pruning a partitioned table takes what is old and nothing else", async () => {
  const users = Array.from({ length: 60 }, (_, at) => `u${at}`);
  for (const user of users) await storeMany(db.sql, user, 9);
  await partitioned();
  await db.sql`update tidings.notification set created_at = created_at - interval '40 days' where id <= 4`;
  let gone = 0;
  for (let batch = 0; batch < 10; batch++) {
    gone += (await db.sql`select tidings.prune(clock_timestamp() - interval '30 days', 50) as gone`)[0]!.gone;
  }
  assert.is(gone, 240);
  for (const user of users)
    assert.equal(
      (await entriesOf(db.sql, user)).map(([id]) => id),
      [5, 6, 7, 8, 9],
    );
  await checkInvariants(db.sql);
});

test("an upgrade finds nothing to do, runs functions again where they changed, and adds the domain", async () => {
  await storeMany(db.sql, 7, 3);
  await partitioned();
  assert.is((await run(["migrate"])).out, "Nothing to do: the database is up to date.\n");
  await db.sql`update tidings.migration set sha256 = 'another text' where name = 'tidings/functions'`;
  assert.match((await run(["migrate"])).out, "tidings/functions run again");
  assert.ok((await migrate(db.sql, { domain: true })).length > 2);
  await db.sql`insert into app."user" (username) values ('ann'), ('ben')`;
  await db.sql`insert into app.invite (sender_id, receiver_id, game) values (1, 2, 'chess')`;
  assert.is((await entriesOf(db.sql, "2")).length, 1);
  await db.sql`alter table tidings.notification add column later text`;
  await store(db.sql, 7);
  await checkInvariants(db.sql);
  const { code, out } = await run(["doctor"]);
  assert.is(code, 0, out);
  assert.not.match(out, /^(warn|FAIL)/m);
});

test("what it cannot carry over is named, and nothing is begun", async () => {
  await db.sql.unsafe(`
    create table mine (user_id text, id bigint, constraint to_entry foreign key (user_id, id) references tidings.notification);
    create materialized view counts as select user_id, count(*) from tidings.notification group by 1;
    create table kept (entry tidings.notification);
    create unique index one_actor on tidings.notification (actor)`);
  const { code, err } = await run(["partition"]);
  assert.is(code, 1);
  for (const text of [
    "constraint to_entry of public.mine",
    "materialized view public.counts",
    "column entry of table public.kept",
    "tidings.one_actor does not have user_id",
  ])
    assert.match(err, text);
  assert.is((await run(["partition", "--status"])).out, "tidings.notification: a plain table\n");
});

test("wrong usage is told; an empty database is told to be migrated", async () => {
  for (const args of [["--abort", "--status"], ["--abort", "--batch", "7"], ["--partitions", "1"], ["now"]]) {
    const { code, out } = await run(["partition", ...args]);
    assert.equal([code, out], [2, ""], args.join(" "));
  }
  const empty = await database({ migrate: false });
  try {
    for (const args of [["partition"], ["partition", "--status"], ["partition", "--drop-old"]]) {
      const { code, err } = await run(args, empty.url);
      assert.is(code, 1);
      assert.match(err, "run `tidings migrate` first");
    }
  } finally {
    await empty.drop();
  }
});

test("the owner needs no other right; a server's role is told who the owner is, and changes nothing", async () => {
  const owned = await database({ migrate: false });
  const [owner, server] = [`owner_${owned.name.slice(-12)}`, `server_${owned.name.slice(-12)}`];
  const as = (name: string): string =>
    Object.assign(new URL(owned.url), { username: name, password: "only for this test" }).href;
  try {
    for (const name of [owner, server])
      await owned.sql.unsafe(`create role ${name} login password 'only for this test'`);
    await owned.sql.unsafe(`grant create on database ${owned.name} to ${owner}`);
    assert.is((await run(["migrate"], as(owner))).code, 0);
    await owned.sql`select tidings.grant_server(${server}::text::regrole)`;
    await storeMany(owned.sql, 1, 20);
    for (const option of [[], ["--abort"], ["--drop-old"]]) {
      const refused = await run(["partition", ...option], as(server));
      assert.equal([refused.code, refused.out], [1, ""]);
      assert.match(refused.err, `The role "${server}" does not own tidings.notification: connect as ${owner}.`);
    }
    assert.is((await run(["partition", "--status"], as(server))).code, 0);
    const { code, err } = await run(["partition"], as(owner));
    assert.equal([code, err], [0, ""]);
    const owners =
      await owned.sql`select distinct relowner::regrole::text as name from pg_class where relnamespace = 'tidings'::regnamespace`;
    assert.equal(
      owners.map(({ name }) => name),
      [owner],
    );
    assert.is((await run(["doctor"], as(server))).code, 0);
  } finally {
    await owned.sql.unsafe(`drop owned by ${owner}, ${server} cascade; drop role ${owner}, ${server}`);
    await owned.drop();
  }
});

test.run();
