-- The rights of a server that does not own the schema: `select tidings.grant_server('tidings_server')`, said once by the
-- role that migrates. Upgrades extend them by themselves (z_server_roles.sql). The server then migrates nothing; it
-- checks that nothing is missing.

-- What a server needs, one row each. Whatever changes entries and counters goes through functions with their owner's
-- rights; so a server may neither write an entry nor a count by hand, nor declare watches, nor grant.
create or replace function tidings.server_rights() returns table (rights text, object text)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
    select r, 'schema ' || s from (values ('usage', 'tidings')) t(r, s)
    union all select x.r, 'table tidings.' || x.t from (values
      ('select', 'migration'), ('select', 'inbox'), ('select', 'notification'), ('select', 'revocation'), ('select', 'parcel'),
      ('select, insert, update, delete', 'preference'), ('select, insert, delete', 'ticket'), ('select, delete', 'unannounced'),
      ('select', 'email'), ('select', 'email_key'), ('select', 'watches')) x(r, t)
    -- the relay vacuums what it empties
    union all select 'maintain', 'table tidings.unannounced' where current_setting('server_version_num')::int >= 170000
    union all select 'execute', 'function ' || p.oid::regprocedure from pg_proc p
      where p.pronamespace = 'tidings'::regnamespace and p.proname = any (array[
        'send_notification', 'broadcast', 'notify_user', 'notify_group', 'canonical_group', 'group_members',
        'utc', 'extra_fields', 'without_canonical', 'notification_json', 'canonical', 'current_event', 'unread',
        'mark', 'mark_all_read', 'mark_delivered',
        'relay', 'notify_packed', 'announce_decoded', 'prune', 'tidy', 'drift_sample',
        'live_instances', 'online', 'presence_audience', 'presence_open', 'presence_close', 'presence_dead', 'presence_reap',
        'email_wait', 'claim_email', 'settle_email', 'unsubscribe_email',
        -- what an operator asks with the server's role: doctor, explain, lists
        'server_rights', 'inbox_drift', 'stranded', 'explain', 'emails', 'retry_email', 'watch_declaration', 'watch_relations']);
  -- an `app` schema of somebody else's is none of our business
  if obj_description(to_regnamespace('app'), 'pg_namespace') is distinct from 'tidings reference domain' then
    return;
  end if;
  return query
    select 'usage', 'schema app'
    union all select 'select, insert, update', 'table ' || c.oid::regclass from pg_class c
      where c.relnamespace = to_regnamespace('app') and c.relkind in ('r', 'p')
    union all select 'delete', 'table app.room_member'
    union all select 'execute', 'function ' || p.oid::regprocedure from pg_proc p
      where p.pronamespace = to_regnamespace('app') and p.prorettype <> 'trigger'::regtype;
end $$;

-- Grants a role what a server needs. To be run by the owner; repeating it changes nothing.
create or replace function tidings.grant_server(role regrole) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  needed record;
begin
  for needed in select * from tidings.server_rights() loop
    execute format('grant %s on %s to %s', needed.rights, needed.object, role);
  end loop;
end $$;

-- The roles that were granted it: those who may run the relay without owning it.
create or replace function tidings.server_roles() returns setof regrole
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
    select distinct a.grantee::regrole from pg_proc p cross join lateral aclexplode(p.proacl) a
    where p.oid = 'tidings.relay(int)'::regprocedure and a.grantee not in (0, p.proowner);
end $$;
