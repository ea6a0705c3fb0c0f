-- What Tidings asks an application (sql/tidings/migrations/0002_replaceable.sql), answered by this domain.
-- Security definer: the asking role need not read the domain's tables.

-- An invite is shown as it is now: a settled one never looks pending after a reconnect, nor does a deleted one.
create or replace function tidings.current_event(event jsonb) returns jsonb
language plpgsql stable security definer
set search_path = app, pg_temp
as $$
declare
  now_json jsonb;
begin
  if event ->> 'type' is distinct from 'invite_created' or jsonb_typeof(event #> '{invite,id}') is distinct from 'number' then
    return event;
  end if;
  select app.invite_json(i) into now_json from app.invite i where i.id = (event #>> '{invite,id}')::bigint;
  return event || jsonb_build_object('invite', coalesce(now_json, event -> 'invite' || '{"status": "cancelled"}'));
end $$;

create or replace function tidings.user_named(username text) returns text
language plpgsql stable security definer
set search_path = app, pg_temp
as $$ begin return (select u.id::text from app."user" u where u.username = user_named.username); end $$;

create or replace function tidings.contact_of(user_id text) returns text
language plpgsql stable security definer
set search_path = app, pg_temp
as $$ begin return (select u.email from app."user" u where u.id = app.known_id(contact_of.user_id)); end $$;

-- Accepted friends, both ways.
create or replace function tidings.presence_audience(user_id text) returns text[]
language plpgsql stable security definer
set search_path = app, pg_temp
as $$
declare
  me bigint := app.known_id(user_id);
begin
  return array(
    select case when f.requester_id = me then f.addressee_id else f.requester_id end::text
    from app.friendship f where f.status = 'accepted' and (f.requester_id = me or f.addressee_id = me));
end $$;

create or replace function tidings.group_members(group_name text) returns text[]
language plpgsql stable security definer
set search_path = app, pg_temp
as $$
declare
  asked text := split_part(group_name, '_', 1);
begin
  if asked = 'user' then
    return array[substr(group_name, 6)];
  end if;
  return array(
    select m.user_id::text from app.room_member m join app.room r on r.id = m.room_id
    where r.id = split_part(group_name, '_', 2)::bigint and asked in ('room', r.kind));
end $$;

-- A token's user id as an id of this domain; null for ids of another form. Whether it exists is not asked.
create or replace function app.known_id(user_id text) returns bigint
language sql immutable
return case when user_id ~ '^[1-9]\d{0,17}$' then user_id::bigint end;
