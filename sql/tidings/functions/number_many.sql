-- Numbering of a transaction that staged more than one row, or a key, or changed read state: set-based, however
-- many recipients. Planner settings are pinned, because the outbox is nearly always empty when it is analysed and
-- a plan made for that (nested loops over sequential scans) took 13 s for 20,000 rows.

-- Drops staged entries whose key their user has already, and later ones of the same key in this transaction.
-- Takes the inbox locks first, in the one order, so that two writers of one key cannot both find it missing.
-- Returns whether the head itself is to be dropped.
create or replace function tidings.drop_known_keys(o tidings.outbox) returns boolean
language plpgsql
set search_path = tidings, pg_temp
set enable_seqscan = off
set enable_nestloop = on
as $$
declare
  users text[];
  drop_head boolean;
begin
  select array_agg(distinct target) into users
  from (select o.target, o.kind union all select target, kind from outbox where xid = o.xid) staged
  where staged.kind in ('e', 'r', 'f');
  insert into inbox (user_id) select u from unnest(users) u order by u on conflict do nothing;
  perform from inbox where user_id = any (users) order by user_id for no key update;
  drop_head := o.key is not null and exists (select from notification where user_id = o.target and key = o.key);
  delete from outbox d where d.xid = o.xid and not d.head and d.key is not null and (
    exists (select from notification n where n.user_id = d.target and n.key = d.key)
    or (d.target = o.target and d.key = o.key)
    or exists (select from outbox e where e.xid = d.xid and e.n < d.n and e.target = d.target and e.key = d.key));
  return drop_head;
end $$;

create or replace function tidings.number_many(o tidings.outbox) returns void
language plpgsql
set search_path = tidings, pg_temp
set enable_seqscan = off
set enable_nestloop = off
as $$
declare
  drop_head boolean := false;
  moment timestamptz;
  actor text := nullif(current_setting('tidings.actor', true), '');
  envelopes text[];
  recount text[];
begin
  if o.key is not null or exists (select from outbox where xid = o.xid and key is not null) then
    drop_head := tidings.drop_known_keys(o);
  end if;
  moment := clock_timestamp();
  with rest as (
    delete from outbox where xid = o.xid and not head
    returning n, kind, target, event, type, title, message, data, key, delta, floor, parcel
  ), mine as (
    select * from rest
    union all
    select o.n, o.kind, o.target, o.event, o.type, o.title, o.message, o.data, o.key, o.delta, o.floor, o.parcel where not drop_head
  ), wished as (
    -- 1: stream off, 2: e-mail, 4: muted; a scalar subquery, so that it stays an index lookup per row
    select *, coalesce((select (not stream)::int + 2 * email::int + 4 * mute::int from preference p
      where p.user_id = mine.target and p.type = mine.type), 0) wish
    from mine where kind = 'e'
  ), entry as (
    select n, target user_id, event, type, title, case when wish < 4 then message end message, data, key, wish,
      row_number() over (partition by target order by n) nth, count(*) over (partition by target) among
    from wished where event is not null or (message is not null and wish < 4)
  ), change as (
    select user_id, sum(entries) entries, sum(unread) unread, max(floor) floor from (
      select user_id, 1 entries, (message is not null)::int unread, 0 floor from entry
      union all
      select target, 0, delta, floor from mine where kind in ('r', 'f')
    ) one group by user_id
  ), bumped as (
    insert into inbox as i (user_id, last_id, unread_count, floor_id)
    select user_id, entries, unread, floor from change order by user_id
    on conflict (user_id) do update set last_id = i.last_id + excluded.last_id,
      unread_count = i.unread_count + excluded.unread_count, floor_id = greatest(i.floor_id, excluded.floor_id)
    returning user_id, last_id
  ), stored as (
    insert into notification (user_id, id, event, type, title, message, data, streamed, key, actor, created_at)
    select user_id, last_id - among + nth, event, type, title, message, data, wish & 1 = 0, key, actor, moment
    from entry join bumped using (user_id)
  ), mailed as (
    insert into email (user_id, id, type, created_at, next_at)
    select user_id, last_id - among + nth, type, moment, moment
    from entry join bumped using (user_id) where wish & 2 > 0 and message is not null
  ), envelope as (
    select n, entry_envelope(user_id, last_id - among + nth, event,
      canonical(last_id - among + nth, type, title, message, data, false, false, moment), wish & 1 = 0, moment) text
    from entry join bumped using (user_id)
    union all
    select n, case when kind = 'c' then (event || jsonb_build_object('group', target))::text
      else transient_envelope(case when kind = 'r' then 'user_' || target else target end, event, parcel) end
    from mine where kind in ('t', 'c', 'r') and (event is not null or parcel is not null)
  )
  select array_agg(text order by n), (select array_agg(distinct target) from mine where kind in ('r', 'f') and delta <> 0)
  into envelopes, recount from envelope;
  -- a new snapshot, taken while we hold the inbox rows: counts by type agree with the count
  if recount is not null then
    envelopes := envelopes || (select array_agg(transient_envelope('user_' || u, unread_frame(u), null)) from unnest(recount) u);
  end if;
  perform tidings.announce(envelopes);
end $$;

-- The frame unread_count of a user.
create or replace function tidings.unread_frame(of_user text) returns jsonb
language plpgsql stable
set search_path = tidings, pg_temp
as $$
begin
  return jsonb_build_object('type', 'unread_count', 'data', unread(of_user));
end $$;

-- {count, by_type} of a user.
create or replace function tidings.unread(of_user text) returns jsonb
language plpgsql stable
set search_path = tidings, pg_temp
as $$
begin
  return jsonb_build_object(
    'count', coalesce((select unread_count from inbox where user_id = of_user), 0),
    'by_type', coalesce((select jsonb_object_agg(type, many) from (
      select type, count(*) many from notification
      where user_id = of_user and message is not null and not is_read and archived_at is null group by type) by_type), '{}'));
end $$;
