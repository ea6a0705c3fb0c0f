-- Staging: how a row gets into the outbox. Every producer, SQL function or trigger, does nothing but insert there.

-- Default of outbox.head: is this the first row the transaction stages? Kept in the transaction-local setting
-- tidings.tx as <xid>:1 (one row staged), :m (many), :0 (numbered already). It rolls back with a savepoint.
create or replace function tidings.draw_head() returns boolean
language plpgsql
set search_path = tidings, pg_temp
as $$
declare
  xid text := pg_current_xact_id()::text;
  state text := current_setting('tidings.tx', true);
begin
  if state = xid || ':m' then
    return false;
  end if;
  if state = xid || ':1' then
    perform set_config('tidings.tx', xid || ':m', true);
    return false;
  end if;
  perform set_config('tidings.tx', xid || ':1', true);
  return true;
end $$;
alter table tidings.outbox alter column head set default tidings.draw_head();

-- A transient event over the NOTIFY limit travels by reference, so that its size never fails the writer.
create or replace function tidings.parcel_up() returns trigger
language plpgsql
set search_path = tidings, pg_temp
as $$
begin
  insert into parcel (payload) values (new.event) returning id into new.parcel;
  new.event := null;
  return new;
end $$;
create or replace trigger parcel_up before insert on tidings.outbox
  for each row when (new.kind = 't' and octet_length(new.event::text) > 7600) execute function tidings.parcel_up();
alter table tidings.outbox enable always trigger parcel_up;

-- Refuses what a producer may not send, with a hint. The table's own check stands behind it for triggers.
create or replace function tidings.check_event(event jsonb) returns void
language plpgsql immutable
set search_path = tidings, pg_temp
as $$
begin
  if not coalesce(event_is_valid(event), false) then
    raise exception 'tidings: % is no event', coalesce(left(event::text, 100), 'null') using errcode = '22023',
      hint = 'An event is a JSON object with a "type"; the keys id and more and the types ready, reset, pong and error are reserved.';
  end if;
end $$;

-- A user id as the streams know it.
create or replace function tidings.check_user(user_id text) returns void
language plpgsql immutable
set search_path = tidings, pg_temp
as $$
begin
  if user_id is null or user_id = '' or length(user_id) > 255 then
    raise exception 'tidings: a user id is a text of 1 to 255 characters, not %', coalesce(quote_literal(left(user_id, 40)), 'null')
      using errcode = '22023';
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
