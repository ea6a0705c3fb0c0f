-- Staging: how a row gets into the outbox. Every producer, SQL function or trigger, does nothing but insert there.

-- Counts rows that the transaction is about to stage: is the first of them its head? The count is kept in the
-- transaction-local setting tidings.tx as <xid>:<rows>, up to 9, then :m (many); :0 is numbered already. It rolls back
-- with a savepoint. Without a search_path, which would cost more than all it does; every name in it is qualified or in
-- pg_catalog, and nobody may execute it but the owner.
create or replace function tidings.draw_heads(rows int) returns boolean
language plpgsql
as $$
declare
  xid text := pg_current_xact_id()::text;
  state text := current_setting('tidings.tx', true);
  before int := 0;
begin
  if left(state, -2) = xid then
    before := case right(state, 1) when 'm' then 10 else right(state, 1)::int end;
  end if;
  return set_config('tidings.tx', xid || ':' || case when before + rows > 9 then 'm' else (before + rows)::text end, true) is not null
    and before = 0;
end $$;

-- One row: nearly always the first, which needs no function.
alter table tidings.outbox alter column head set default
  case when current_setting('tidings.tx', true) <> '' then tidings.draw_heads(1)
  else set_config('tidings.tx', pg_current_xact_id()::text || ':1', true) is not null end;
drop function if exists tidings.draw_head();

-- What an event is. In a function, because an insert into the outbox prepares its domains' checks whole, also for rows
-- without an event.
create or replace function tidings.is_event(event jsonb) returns boolean
language plpgsql immutable strict parallel safe
as $$
begin
  return jsonb_typeof(event) = 'object' and coalesce(jsonb_typeof(event -> 'type') = 'string', false)
    and not event ?| array['id', 'more'] and event ->> 'type' <> all (array['ready', 'reset', 'pong', 'error', '']);
end $$;
alter domain tidings.event drop constraint if exists event_shape;
alter domain tidings.event add constraint event_shape check (tidings.is_event(value));

-- Refuses what a producer may not send, with a hint. The domains of the outbox stand behind it for triggers.
create or replace function tidings.check_event(event jsonb) returns void
language plpgsql
as $$
declare
  checked tidings.event;
begin
  begin
    checked := event;
  exception when check_violation then
    checked := null;
  end;
  if checked is null then
    raise exception 'tidings: % is no event', coalesce(left(event::text, 100), 'null') using errcode = '22023',
      hint = 'An event is a JSON object with a "type"; the keys id and more and the types ready, reset, pong and error are reserved.';
  end if;
end $$;

-- A user id as the streams know it.
create or replace function tidings.check_user(user_id text) returns void
language plpgsql immutable
as $$
begin
  if user_id is null or length(user_id) not between 1 and 255 then
    raise exception 'tidings: a user id is a text of 1 to 255 characters, not %', coalesce(quote_literal(left(user_id, 40)), 'null')
      using errcode = '22023';
  end if;
end $$;

-- A stored entry for each of these users. All that send.sql offers for stored entries ends here.
create or replace function tidings.stage_entries(
  users text[], title text, message text, type text, data jsonb, event jsonb, key text
) returns void
language plpgsql
as $$
declare
  is_head boolean;
  one text;
begin
  if event is not null then
    perform tidings.check_event(event);
  end if;
  type := coalesce(nullif(type, ''), event ->> 'type', 'notification');
  if message is null then
    if event is null then
      raise exception 'tidings: a notification wants a message' using errcode = '22023',
        hint = 'Pass a message, or an event, or both.';
    end if;
    title := null;
    data := null;
  else
    title := coalesce(title, '');
    data := coalesce(data, '{}');
  end if;
  if jsonb_typeof(data) <> 'object' then
    raise exception 'tidings: data is a JSON object, not %', jsonb_typeof(data) using errcode = '22023';
  end if;
  if length(type) > 255 or length(key) not between 1 and 255 then
    raise exception 'tidings: a type has at most 255 characters, a key 1 to 255' using errcode = '22023';
  end if;
  foreach one in array users loop
    if one is null or length(one) not between 1 and 255 then
      perform tidings.check_user(one);
    end if;
  end loop;
  if cardinality(users) = 1 then
    insert into tidings.outbox (kind, target, event, type, title, message, data, key)
    values ('e', users[1], event, type, title, message, data, key);
  elsif cardinality(users) > 1 then
    is_head := tidings.draw_heads(cardinality(users));  -- once for all, where the default is asked for each
    insert into tidings.outbox (head, kind, target, event, type, title, message, data, key)
    select is_head and at = 1, 'e', u, stage_entries.event, stage_entries.type, stage_entries.title, stage_entries.message,
      stage_entries.data, stage_entries.key
    from unnest(users) with ordinality x(u, at);
  end if;
end $$;

-- The group as the streams know it: user_42, room_7, direct_7, task_7 or group_7.
create or replace function tidings.canonical_group(group_name text) returns text
language plpgsql stable
set search_path = tidings, pg_temp
as $$
declare
  name text := substring(group_name from '^notifications_(.+)$');
  user_id text;
begin
  if name is not null then
    user_id := case when name ~ '^\d+$' then name else user_named(name) end;
    if user_id is null then
      raise exception 'tidings: nobody is called %', quote_literal(left(name, 40)) using errcode = '22023',
        hint = 'notifications_<username> wants an existing username; use user_<id> for an id.';
    end if;
    return 'user_' || user_id;
  end if;
  if group_name ~ '^user_.{1,255}$' or group_name ~ '^(room|direct|task|group)_\d{1,18}$' then
    return group_name;
  end if;
  raise exception 'tidings: % is no group', coalesce(quote_literal(left(group_name, 40)), 'null') using errcode = '22023',
    hint = 'A group is user_<id>, notifications_<id or username>, or direct_, task_, group_ or room_<room id>.';
end $$;
