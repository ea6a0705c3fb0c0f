-- What producers call. Security definer: a producer needs USAGE on the schema and EXECUTE here, nothing else.
-- A user id may be text or bigint, a list of them text[] or bigint[].

create or replace function tidings.send_notification(
  user_id text, title text, message text, type text, data jsonb default '{}', event jsonb default null, key text default null
) returns void
language plpgsql security definer
set search_path = tidings, pg_temp
as $$ begin perform stage_entries(array[user_id], title, message, type, data, event, key); end $$;

create or replace function tidings.send_notification(
  user_id bigint, title text, message text, type text, data jsonb default '{}', event jsonb default null, key text default null
) returns void
language plpgsql security definer
set search_path = tidings, pg_temp
as $$ begin perform stage_entries(array[user_id::text], title, message, type, data, event, key); end $$;

-- One stored entry for each; null: everybody who has an inbox.
create or replace function tidings.broadcast(
  user_ids text[], title text, message text, type text, data jsonb default '{}', event jsonb default null, key text default null
) returns void
language plpgsql security definer
set search_path = tidings, pg_temp
as $$
begin
  perform stage_entries(
    case when user_ids is null then array(select i.user_id from inbox i) else array(select distinct u from unnest(user_ids) u) end,
    title, message, type, data, event, key);
end $$;

create or replace function tidings.broadcast(
  user_ids bigint[], title text, message text, type text, data jsonb default '{}', event jsonb default null, key text default null
) returns void
language plpgsql security definer
set search_path = tidings, pg_temp
as $$ begin perform broadcast(user_ids::text[], title, message, type, data, event, key); end $$;

-- Takes the untyped literals null and '{1,2}', which the other two would leave ambiguous.
create or replace function tidings.broadcast(
  user_ids text, title text, message text, type text, data jsonb default '{}', event jsonb default null, key text default null
) returns void
language plpgsql security definer
set search_path = tidings, pg_temp
as $$ begin perform broadcast(user_ids::text[], title, message, type, data, event, key); end $$;

-- A transient event to a group: sent to the streams open now, never stored.
create or replace function tidings.notify_group("group" text, payload jsonb) returns void
language plpgsql security definer
set search_path = tidings, pg_temp
as $$
begin
  perform check_event(payload);
  insert into outbox (kind, target, event) values ('t', canonical_group("group"), payload);
end $$;

create or replace function tidings.notify_user(user_id text, payload jsonb) returns void
language plpgsql security definer
set search_path = tidings, pg_temp
as $$
begin
  perform check_event(payload);
  perform check_user(user_id);
  insert into outbox (kind, target, event) values ('t', 'user_' || user_id, payload);
end $$;

create or replace function tidings.notify_user(user_id bigint, payload jsonb) returns void
language plpgsql security definer
set search_path = tidings, pg_temp
as $$ begin perform notify_user(user_id::text, payload); end $$;

-- Closes the user's streams everywhere with 4401 and refuses tokens issued at or before this second.
create or replace function tidings.revoke(user_id text) returns void
language plpgsql security definer
set search_path = tidings, pg_temp
as $$
begin
  perform check_user(user_id);
  insert into revocation as r values (revoke.user_id, clock_timestamp())
  on conflict on constraint revocation_pkey do update set revoked_at = greatest(r.revoked_at, excluded.revoked_at);
  delete from ticket where identity ->> 'userId' = revoke.user_id;
  insert into outbox (kind, target, event) values ('c', 'user_' || revoke.user_id, '{"type": "revoke"}');
end $$;

create or replace function tidings.revoke(user_id bigint) returns void
language plpgsql security definer
set search_path = tidings, pg_temp
as $$ begin perform revoke(user_id::text); end $$;

-- Plain inserts: equal to send_notification.
create or replace view tidings.notifications as
  select user_id, message, title, type, data, id, is_read, created_at
  from tidings.notification where message is not null and archived_at is null;

create or replace function tidings.insert_notification() returns trigger
language plpgsql security definer
set search_path = tidings, pg_temp
as $$
begin
  perform send_notification(new.user_id, new.title, new.message, new.type, new.data);
  return new;
end $$;
create or replace trigger insert_notification instead of insert on tidings.notifications
  for each row execute function tidings.insert_notification();
