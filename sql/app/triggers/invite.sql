-- An invite: the receiver hears of a pending one; both sides hear when it is settled, and the side that did not
-- act gets a notification (for an expired one the sender). Inserted as settled, it notifies nobody.

create or replace function app.publish_invite() returns trigger
language plpgsql security definer
set search_path = app, pg_temp
as $$
begin
  insert into tidings.outbox (kind, target, type, event, title, message, data)
  select 'e', i.receiver_id::text, 'invite_created',
    jsonb_build_object('type', 'invite_created', 'invite', app.invite_json(i)),
    'New invite', u.username || ' invited you to ' || i.game,
    jsonb_build_object('invite_id', i.id, 'sender_id', i.sender_id, 'game', i.game)
  from written i join app."user" u on u.id = i.sender_id
  where i.status = 'pending' order by i.id;
  return null;
end $$;

create or replace trigger publish_invite after insert on app.invite
  referencing new table as written for each statement execute function app.publish_invite();

create or replace function app.publish_invite_status() returns trigger
language plpgsql security definer
set search_path = app, pg_temp
as $$
begin
  insert into tidings.outbox (kind, target, type, event, title, message, data)
  select 'e', side.user_id::text, 'invite_status',
    jsonb_build_object('type', 'invite_status', 'invite', app.invite_json(i)),
    case when side.told then 'Invite ' || i.status end,
    case when side.told then case i.status
      when 'expired' then 'Your invite to ' || i.game || ' expired'
      when 'cancelled' then sender.username || ' cancelled the invite to ' || i.game
      else receiver.username || ' ' || i.status || ' your invite to ' || i.game end end,
    case when side.told then jsonb_build_object('invite_id', i.id, 'game', i.game, 'status', i.status) end
  from written i
  join replaced o on o.id = i.id and o.status <> i.status
  join app."user" sender on sender.id = i.sender_id
  join app."user" receiver on receiver.id = i.receiver_id
  cross join lateral (values (i.sender_id, i.status <> 'cancelled'), (i.receiver_id, i.status = 'cancelled')) side(user_id, told)
  where i.status <> 'pending' order by i.id, side.user_id;
  return null;
end $$;

create or replace trigger publish_invite_status after update on app.invite
  referencing old table as replaced new table as written
  for each statement execute function app.publish_invite_status();
