-- Presence: a user is online while any living instance has a stream of theirs open. Whoever may see it
-- (presence_audience) hears of the first opening and the last closing anywhere, by transient presence_update events.
-- Written only when that changes (worker/presence.ts holds back 5 s after a close).

-- The instances whose LISTEN connection is there.
create or replace function tidings.live_instances() returns int[]
language sql stable
set search_path = tidings, pg_temp
as $$
  select array(
    select l.objid::bigint::int from pg_locks l
    where l.locktype = 'advisory' and l.classid = 1953063018 and l.objsubid = 2 and l.granted and l.objid < 2147483648
      and l.database = (select oid from pg_database where datname = current_database()));
$$;

-- Those of the users that are online.
create or replace function tidings.online(users text[]) returns text[]
language plpgsql stable security definer
set search_path = tidings, pg_temp
as $$
declare
  live int[] := live_instances();
begin
  return array(select p.user_id from presence p where p.user_id = any (users) and p.instances && live);
end $$;

-- Tells everybody who may see these users. A user id that is a number is a JSON number, as the domain's ids are.
create or replace function tidings.announce_presence(users text[], status text) returns void
language sql
set search_path = tidings, pg_temp
as $$
  insert into outbox (kind, target, event)
  select 't', 'user_' || friend, jsonb_build_object('type', 'presence_update',
    'user_id', case when u ~ '^(0|[1-9]\d{0,14})$' then to_jsonb(u::bigint) else to_jsonb(u) end, 'status', status)
  from unnest(users) u cross join lateral unnest(presence_audience(u)) friend;
$$;

-- Users with a stream on this instance now. Returns those it brought online; repeating it changes nothing.
create or replace function tidings.presence_open(of_instance int, user_ids text[]) returns text[]
language plpgsql security definer
set search_path = tidings, pg_temp
as $$
declare
  others int[] := array_remove(live_instances(), of_instance);
  risen text[];
begin
  insert into presence_instance select of_instance
  where not exists (select from presence_instance where instance = of_instance) on conflict do nothing;
  -- one order, so that two instances cannot deadlock; what dead instances left is dropped by the way
  with opened as (
    insert into presence as p (user_id, instances)
    select distinct u, array[of_instance] from unnest(user_ids) u order by u
    on conflict (user_id) do update
      set instances = array(select i from unnest(p.instances) i where i = any (others)) || of_instance
      where not p.instances @> array[of_instance]
    returning user_id, instances
  )
  select array_agg(user_id) into risen from opened where instances = array[of_instance];
  perform announce_presence(risen, 'online');
  return coalesce(risen, '{}');
end $$;

-- Users without a stream on this instance any more. Returns those it took offline.
create or replace function tidings.presence_close(of_instance int, user_ids text[]) returns text[]
language plpgsql security definer
set search_path = tidings, pg_temp
as $$
declare
  others int[] := array_remove(live_instances(), of_instance);
  here text[];
  gone text[];
begin
  here := array(
    select user_id from presence where user_id = any (user_ids) and instances @> array[of_instance]
    order by user_id for update);
  update presence set instances = array_remove(instances, of_instance)
  where user_id = any (here) and instances && others;
  with deleted as (
    delete from presence where user_id = any (here) and not instances && others returning user_id
  )
  select array_agg(user_id) into gone from deleted;
  perform announce_presence(gone, 'offline');
  return coalesce(gone, '{}');
end $$;

-- The instances that have written presence and are not alive. Reads only: it may be asked every few seconds.
create or replace function tidings.presence_dead() returns int[]
language plpgsql stable security definer
set search_path = tidings, pg_temp
as $$
declare
  live int[] := live_instances();
begin
  return array(select instance from presence_instance where instance <> all (live));
end $$;

-- Takes up to `most` users off a dead instance, as if it had closed their streams; forgets it with the last of them.
-- Nothing where the instance is alive after all. Returns how many users it took.
create or replace function tidings.presence_reap(dead int, most int default 1000) returns int
language plpgsql security definer
set search_path = tidings, pg_temp
as $$
declare
  users text[];
begin
  if dead = any (live_instances()) then
    return 0;
  end if;
  users := array(select user_id from presence where instances @> array[dead] limit most);
  perform presence_close(dead, users);
  if cardinality(users) < most then
    delete from presence_instance where instance = dead;
  end if;
  return cardinality(users);
end $$;
