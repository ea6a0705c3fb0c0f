-- Friends: the addressee hears of a request, the requester of its acceptance.

create or replace function app.publish_friend_request() returns trigger
language plpgsql security definer
set search_path = app, pg_temp
as $$
begin
  insert into tidings.outbox (kind, target, type, event, title, message, data)
  select 'e', f.addressee_id::text, 'friend_request',
    jsonb_build_object('type', 'friend_request', 'from_user', jsonb_build_object('id', u.id, 'username', u.username)),
    'Friend request', u.username || ' sent you a friend request',
    jsonb_build_object('request_id', f.id, 'user_id', u.id)
  from written f join app."user" u on u.id = f.requester_id
  where f.status = 'pending' order by f.id;
  return null;
end $$;

create or replace trigger publish_friend_request after insert on app.friendship
  referencing new table as written for each statement execute function app.publish_friend_request();

create or replace function app.publish_friend_accepted() returns trigger
language plpgsql security definer
set search_path = app, pg_temp
as $$
begin
  insert into tidings.outbox (kind, target, type, event, title, message, data)
  select 'e', f.requester_id::text, 'friend_accepted',
    jsonb_build_object('type', 'friend_accepted', 'from_user', jsonb_build_object('id', u.id, 'username', u.username)),
    'Friend request accepted', u.username || ' accepted your friend request',
    jsonb_build_object('request_id', f.id, 'user_id', u.id)
  from written f
  join replaced o on o.id = f.id and o.status <> 'accepted'
  join app."user" u on u.id = f.addressee_id
  where f.status = 'accepted' order by f.id;
  return null;
end $$;

create or replace trigger publish_friend_accepted after update on app.friendship
  referencing old table as replaced new table as written
  for each statement execute function app.publish_friend_accepted();
