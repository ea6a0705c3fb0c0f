/** Least privilege: a producer needs USAGE and EXECUTE, and cannot do more or be made to do something else. */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { Tx } from "../../src/db/client.ts";
import { checkInvariants, codeOf, entriesOf, type Scene, scene } from "./scene.ts";

const test = suite("privileges");
let s: Scene;
let role: string;
test.before(async () => {
  s = await scene();
  role = `producer_${s.db.name.slice(-12)}`;
  await s.sql.unsafe(`
    create role ${role};
    grant usage on schema tidings to ${role};
    grant execute on function tidings.send_notification(text, text, text, text, jsonb, jsonb, text) to ${role};
    grant execute on function tidings.notify_user(text, jsonb) to ${role};
    grant create, usage on schema public to ${role};`);
});
test.after(async () => {
  await s.sql.unsafe(`drop owned by ${role}; drop role ${role}`);
  await s.db.drop();
});

/** As the producer: the role is back to its own when the deferred triggers run, so it is set for the session. */
async function asProducer<T>(work: (tx: Tx) => Promise<T>): Promise<T> {
  const sql = s.db.connect({ max: 1 });
  try {
    await sql.unsafe(`set session authorization ${role}`);
    return (await sql.begin(work)) as T;
  } finally {
    await sql.end();
  }
}

test("a role with USAGE on the schema and EXECUTE on one function can produce with it", async () => {
  await asProducer(async (tx) => {
    await tx`select tidings.send_notification('42', 'Hi', 'there', 'note')`;
    await tx`select tidings.notify_user('42', '{"type": "ping"}')`;
  });
  await asProducer(
    (tx) => tx`select tidings.send_notification('42', 't', n::text, 'note') from generate_series(1, 20) n`,
  );
  assert.is((await entriesOf(s.sql, "42")).length, 21);
  await checkInvariants(s.sql);
});

test("it can do nothing else: no table, no other function, no numbering, no view", async () => {
  const refused = [
    "insert into tidings.outbox (kind, target, type, message) values ('e', '42', 't', 'forged')",
    "insert into tidings.notification (user_id, id, type, message, created_at) values ('42', 99, 't', 'forged', now())",
    "insert into tidings.notifications (user_id, message) values ('42', 'not granted')",
    "select * from tidings.notification",
    "select * from tidings.notifications",
    "select * from tidings.inbox",
    "select * from tidings.outbox",
    "select tidings.broadcast(null::text[], 't', 'm', 'note')",
    "select tidings.revoke('42')",
    "select * from tidings.mark('42', 1, 'archived')",
    "select tidings.mark_all_read('42')",
    "select tidings.mark_delivered(array['42'], array[1::bigint])",
    "select tidings.prune(now())",
    "select tidings.relay()",
    "select tidings.announce(array['{}'])",
    "select tidings.draw_heads(1)",
    "select tidings.number_few(null)",
    "select tidings.unread('42')",
    "select tidings.contact_of('42')",
    "create function tidings.mine() returns int language sql return 1",
  ];
  for (const query of refused) assert.is(await codeOf(asProducer((tx) => tx.unsafe(query))), "42501", query);
});

test("a role with INSERT on the view produces by plain inserts, and cannot read through it", async () => {
  await s.sql.unsafe(`grant insert on tidings.notifications to ${role}`);
  await asProducer((tx) => tx`insert into tidings.notifications (user_id, message) values ('43', 'plain')`);
  assert.equal(await entriesOf(s.sql, "43"), [[1, "plain"]]);
  assert.is(await codeOf(asProducer((tx) => tx`select * from tidings.notifications`)), "42501");
});

test("temporary tables, and operators and functions of a schema searched first, hijack nothing", async () => {
  await asProducer(async (tx) => {
    await tx.unsafe(`
      create table public.caught (what text);
      create function public.catch_eq(tid, tid) returns boolean language plpgsql as $$
        begin insert into public.caught values ('=: ' || current_user); return true; end $$;
      create operator public.= (leftarg = tid, rightarg = tid, function = public.catch_eq);
      create function public.pg_notify(text, text) returns void language sql as $$ insert into public.caught values ('notify') $$;
      create function public.current_setting(text, boolean) returns text language plpgsql as $$
        begin insert into public.caught values ('setting'); return pg_catalog.current_setting($1, $2); end $$;
      create function public.catch_cat(text, text) returns text language plpgsql as $$
        begin insert into public.caught values ('||'); return pg_catalog.textcat($1, $2); end $$;
      create operator public.|| (leftarg = text, rightarg = text, function = public.catch_cat);
      create temp table outbox (kind "char", target text);
      create temp table inbox (user_id text, last_id bigint, unread_count bigint);
      create temp table notification (user_id text);
      create temp table preference (user_id text, type text, mute boolean default true);
      create temp table unannounced (envelope text);`);
    await tx`set local search_path = pg_temp, public, pg_catalog`;
    await tx`select tidings.send_notification('44', 't', 'safe', 'note')`;
    await tx`select tidings.send_notification('44', 't', 'safe', 'note', key => n::text) from generate_series(1, 3) n`;
    await tx`select tidings.send_notification('44', 't', 'safe', 'note', key => 'x' || n) from generate_series(1, 12) n`;
    await tx`select tidings.notify_user('44', '{"type": "x"}')`;
  });
  assert.equal([...(await s.sql`select what from caught`)], []);
  assert.is((await entriesOf(s.sql, "44")).length, 16);
  await s.sql`drop table caught`;
});

test("nobody but the owner may execute a function of ours unless granted", async () => {
  const open = await s.sql`
    select p.oid::regprocedure::text as name from pg_proc p
    where p.pronamespace = 'tidings'::regnamespace and has_function_privilege('public', p.oid, 'execute')`;
  assert.equal(
    open.map(({ name }) => name),
    [],
  );
});

test("every function with its owner's rights has a search path of its own, but for the one that is qualified throughout", async () => {
  const loose = await s.sql`
    select p.proname as name from pg_proc p where p.pronamespace = 'tidings'::regnamespace and p.prosecdef
      and not coalesce(array_to_string(p.proconfig, ' '), '') ~ 'search_path=tidings, pg_temp'`;
  assert.equal(
    loose.map(({ name }) => name),
    ["defer_numbering"],
  );
});

test("the writer of a source table with a trigger of the owner needs no right on anything of ours", async () => {
  await s.sql.unsafe(
    `alter function stage_note() security definer set search_path = public, pg_temp; grant insert on note to ${role}`,
  );
  await asProducer((tx) => tx`insert into note (recipient, body) values ('45', 'by trigger')`);
  assert.equal(await entriesOf(s.sql, "45"), [[1, "by trigger"]]);
});

test.run();
