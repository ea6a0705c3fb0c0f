-- Read state. Changes stage a delta, so that counters move at commit under the same locks, in the same order, as
-- numbering does: reading inside a publishing transaction cannot deadlock.

-- Sets one notification read, unread or archived. Returns it as it is now; no row where the user has none such
-- (an archived one is gone for its user). Setting what is set already changes and announces nothing.
create or replace function tidings.mark(of_user text, of_id bigint, status text) returns setof tidings.notification
language plpgsql security definer
set search_path = tidings, pg_temp
as $$
declare
  was tidings.notification;
  delta int := 0;
begin
  if status is null or status not in ('read', 'unread', 'archived') then
    raise exception 'tidings: a status is read, unread or archived, not %', quote_nullable(status) using errcode = '22023';
  end if;
  select * into was from notification where user_id = of_user and id = of_id for no key update;
  if was.message is null or was.archived_at is not null then
    return;
  end if;
  if status = 'archived' then
    delta := case when was.is_read then 0 else -1 end;
  elsif was.is_read <> (status = 'read') then
    delta := case status when 'read' then -1 else 1 end;
  else
    return next was;
    return;
  end if;
  insert into outbox (kind, target, delta, event) values ('r', of_user, delta, jsonb_build_object(
    'type', 'notification_update', 'data', jsonb_build_object('notification_id', of_id, 'status', status)));
  return query update notification set
    is_read = case status when 'read' then true when 'unread' then false else is_read end,
    read_at = case status when 'read' then clock_timestamp() when 'unread' then null else read_at end,
    archived_at = case when status = 'archived' then clock_timestamp() end
  where user_id = of_user and id = of_id returning *;
end $$;

-- Reads everything up to an id (default: the newest), of one type or room where given. Returns how many changed.
create or replace function tidings.mark_all_read(
  of_user text, up_to bigint default null, of_type text default null, of_room bigint default null
) returns bigint
language plpgsql security definer
set search_path = tidings, pg_temp
as $$
declare
  last bigint := coalesce(up_to, (select last_id from inbox where user_id = of_user));
  changed bigint;
begin
  with mine as (  -- locked in one order: two readers of the same inbox cannot deadlock
    select id from notification
    where user_id = of_user and message is not null and not is_read and archived_at is null
      and id <= last and (of_type is null or type = of_type)
      and (of_room is null or data ->> 'room_id' = of_room::text)
    order by id for no key update
  )
  update notification n set is_read = true, read_at = clock_timestamp()
  from mine where n.user_id = of_user and n.id = mine.id and not n.is_read;
  get diagnostics changed = row_count;
  if changed > 0 then
    insert into outbox (kind, target, delta, event) values ('r', of_user, -changed, jsonb_build_object(
      'type', 'notification_update', 'data', jsonb_strip_nulls(jsonb_build_object(
        'up_to', last, 'type', of_type, 'room_id', of_room, 'status', 'read'))));
  end if;
  return changed;
end $$;

-- Moves the delivered watermarks of many users, in the one lock order; tells their streams. Only forward.
create or replace function tidings.mark_delivered(users text[], ids bigint[]) returns void
language plpgsql security definer
set search_path = tidings, pg_temp
as $$
declare
  envelopes text[];
begin
  with moved as (
    select i.user_id, least(d.id, i.last_id) id from unnest(users, ids) d(user_id, id) join inbox i using (user_id)
    where i.delivered_id < d.id order by i.user_id for no key update of i
  ), written as (
    update inbox i set delivered_id = moved.id from moved
    where i.user_id = moved.user_id and i.delivered_id < moved.id returning i.user_id, moved.id
  )
  select array_agg(tidings.transient_envelope('user_' || user_id, jsonb_build_object(
    'type', 'notification_update', 'data', jsonb_build_object('notification_id', id, 'status', 'delivered'))))
  into envelopes from written;
  perform announce(envelopes);
end $$;
