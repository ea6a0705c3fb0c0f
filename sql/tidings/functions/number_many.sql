-- Numbering of a transaction that staged ten rows or more: set-based, however many recipients. Called by
-- tidings.number alone. Planner settings are pinned, because the outbox is nearly always empty when it is analysed and
-- a plan made for that (nested loops over sequential scans) took 13 s for 20,000 rows.

-- Drops staged entries whose key their user has already, and later ones of the same key in this transaction.
-- Takes the inbox locks first, in the one order, so that two writers of one key cannot both find it missing.
-- Returns whether the head itself is to be dropped.
create or replace function tidings.drop_known_keys(o tidings.outbox) returns boolean
language plpgsql
set search_path = tidings, pg_temp
set enable_seqscan = off
set enable_nestloop = off
set jit = off
as $$
declare
  drop_head boolean;
begin
  insert into inbox as i (user_id)
  select distinct target from (select o.target, o.kind union all select target, kind from outbox where xid = o.xid and not head) staged
  where kind in ('e', 'r', 'f') order by target
  on conflict (user_id) do update set last_id = i.last_id where false;  -- locks, and changes nothing
  with keyed as (
    select o.n, o.target, o.key
    union all
    select n, target, key from outbox where xid = o.xid and not head
  ), known as (
    select n from (
      select n, row_number() over (partition by target, key order by n) > 1
        -- a scalar subquery, so that it stays an index lookup per row
        or coalesce((select true from notification x where x.user_id = keyed.target and x.key = keyed.key), false) as known
      from keyed where key is not null) k where known
  ), dropped as (
    delete from outbox using known where outbox.xid = o.xid and not outbox.head and outbox.n = known.n
  )
  select exists (select from known where n = o.n) into drop_head;
  return drop_head;
end $$;

create or replace function tidings.number_many(o tidings.outbox) returns text[]
language plpgsql
set search_path = tidings, pg_temp
set enable_seqscan = off
set enable_nestloop = off
set jit = off
set work_mem = '32MB'
as $$
declare
  is_empty boolean;
  is_keyed boolean;
  drop_head boolean := false;
  actor text := nullif(current_setting('tidings.actor', true), '');
  one record;
  fed boolean := fed_by_wal();
  settled boolean;
  envelopes text[] := '{}';
  recount text[] := '{}';
begin
  -- by the index of all but the head, and once for both
  select coalesce(bool_or(kind = 'e' and message is null and event is null), false), count(key) > 0 into is_empty, is_keyed
  from (select o.kind, o.message, o.event, o.key union all
    select kind, message, event, key from outbox where xid = o.xid and not head) s;
  if is_empty then
    raise exception 'tidings: an entry wants a message, or an event, or both' using errcode = '23502';
  end if;
  if is_keyed then
    drop_head := drop_known_keys(o);
  end if;
  -- row by row from here on only to announce: the statement has done all its work when the first row comes
  for one in
    with rest as (
      delete from outbox where xid = o.xid and not head
      returning n, kind, target, event, type, title, message, data, key, delta, floor
    ), mine as (
      select * from rest
      union all
      select o.n, o.kind, o.target, o.event, o.type, o.title, o.message, o.data, o.key, o.delta, o.floor where not drop_head
    ), wished as (
      -- 1: stream off, 2: e-mail, 4: muted; a scalar subquery as above
      select *, coalesce((select (not stream)::int + 2 * email::int + 4 * mute::int from preference p
        where p.user_id = mine.target and p.type = mine.type), 0) wish
      from mine where kind = 'e' offset 0  -- keeps the lookup from being done at each use
    ), entry as (
      select n, target user_id, event, type, title, case when wish < 4 then message end message, data, key, wish,
        row_number() over (partition by target order by n) nth, count(*) over (partition by target) among
      from wished where event is not null or wish < 4
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
      returning user_id, last_id, clock_timestamp() moment  -- read when the row is locked
    ), numbered as (
      select n, user_id, last_id - among + nth id, event, type, title, message, data, key, wish, moment
      from entry join bumped using (user_id)
    ), stored as (
      insert into notification (user_id, id, event, type, title, message, data, streamed, key, actor, created_at)
      select user_id, id, event, type, title, message, data, wish & 1 = 0, key, actor, moment from numbered
    ), mailed as (
      insert into email (user_id, id, type, created_at, next_at)
      select user_id, id, type, moment, moment from numbered where wish & 2 > 0 and message is not null
    )
    select n, 'e'::"char" kind, user_id target, id, null::jsonb event, 0::bigint delta, entry_envelope(
      user_id, id, event, notification, wish & 1 = 0, created_at) envelope
    from (  -- each `offset 0` keeps what is in it from being done twice
      select *, notification_json(id, type, title, message, data, false, false, created_at) notification
      from (select *, utc(moment) created_at from numbered where not fed offset 0) dated offset 0) shown
    union all
    select n, kind, target, null, event, delta, null from mine where kind <> 'e'
    order by n
  loop
    if one.delta <> 0 and one.kind in ('r', 'f') then
      recount := recount || one.target;
    end if;
    envelopes := envelopes || case one.kind
      when 'e' then case when octet_length(one.envelope) <= 7898 then one.envelope else brief_envelope(one.target, one.id) end
      when 'c' then (one.event || jsonb_build_object('group', one.target))::text
      else transient_envelope(case when one.kind = 't' then one.target else 'user_' || one.target end, one.event) end;
    if cardinality(envelopes) >= 1000 then
      settled := announce(envelopes);
      envelopes := '{}';
    end if;
  end loop;
  -- a new snapshot, taken while we hold the inbox rows: counts by type agree with the count
  return envelopes || array(select unread_envelope(u) from (select distinct u from unnest(recount) u) users);
end $$;
