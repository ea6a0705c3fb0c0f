-- A message: an entry for each other member of the room, the chat frame to the room's streams, and in a direct room
-- a lightweight ping to the other side. Updating or deleting one notifies nobody.

create or replace function app.publish_message() returns trigger
language plpgsql security definer
set search_path = app, pg_temp
as $$
begin
  insert into tidings.outbox (kind, target, event)
  select 't', 'room_' || m.room_id, jsonb_build_object('type', 'chat_message', 'data', app.message_json(m))
  from written m order by m.id;

  insert into tidings.outbox (kind, target, type, event, title, message, data)
  select 'e', member.user_id::text, 'new_message',
    jsonb_build_object('type', 'new_message', 'from_user', jsonb_build_object('id', u.id, 'username', u.username),
      'message', jsonb_build_object('id', m.id, 'content', m.content), 'room_id', m.room_id),
    'New message from ' || u.username,
    u.username || ': ' || left(m.content, 100) || case when length(m.content) > 100 then '…' else '' end,
    jsonb_build_object('room_id', m.room_id, 'sender_id', m.sender_id, 'message_id', m.id)
  from written m
  join app."user" u on u.id = m.sender_id
  join app.room_member member on member.room_id = m.room_id and member.user_id <> m.sender_id
  order by m.id, member.user_id;

  insert into tidings.outbox (kind, target, event)
  select 't', 'user_' || member.user_id,
    jsonb_build_object('type', 'dm', 'senderId', m.sender_id, 'message_id', m.id, 'timestamp', tidings.utc(m.created_at))
  from written m
  join app.room r on r.id = m.room_id and r.kind = 'direct'
  join app.room_member member on member.room_id = m.room_id and member.user_id <> m.sender_id
  order by m.id;
  return null;
end $$;

create or replace trigger publish_message after insert on app.message
  referencing new table as written for each statement execute function app.publish_message();
