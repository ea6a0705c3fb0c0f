-- Friends: the addressee hears of a request, the requester of its acceptance.

create or replace function app.publish_friend_request() returns trigger
language plpgsql security definer
set search_path = app, pg_temp
as $$
begin
  insert into tidings.outbox (kind, target, type, event, title, message, data)
  select 'e', f.addressee_id::text, 'friend_request',
    jsonb_build_object('type', 'friend_request', 'from_user', who),
    'Friend request', who ->> 'username' || ' sent you a friend request',
    jsonb_build_object('request_id', f.id, 'user_id', f.requester_id)
  from written f cross join lateral app.user_ref(f.requester_id) who
  where f.status = 'pending' order by f.id;
  return null;
end $$;

create or replace trigger publish_friend_request after insert on app.friendship
  referencing new table as written for each statement execute function app.publish_friend_request();

-- enable_nestloop: see invite.sql.
create or replace function app.publish_friend_accepted() returns trigger
language plpgsql security definer
set search_path = app, pg_temp
set enable_nestloop = off
set jit = off
as $$
begin
  insert into tidings.outbox (kind, target, type, event, title, message, data)
  select 'e', f.requester_id::text, 'friend_accepted',
    jsonb_build_object('type', 'friend_accepted', 'from_user', who),
    'Friend request accepted', who ->> 'username' || ' accepted your friend request',
    jsonb_build_object('request_id', f.id, 'user_id', f.addressee_id)
  from written f
  join replaced o on o.id = f.id and o.status <> 'accepted'
  cross join lateral app.user_ref(f.addressee_id) who
  where f.status = 'accepted' order by f.id;
  return null;
end $$;

create or replace trigger publish_friend_accepted after update on app.friendship
  referencing old table as replaced new table as written
  for each statement execute function app.publish_friend_accepted();
