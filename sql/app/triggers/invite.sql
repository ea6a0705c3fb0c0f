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

-- The plan is made once per session, mostly for a single row; a nested loop over the two transition tables then takes
-- a minute for a statement of 20,000 rows. So nothing is joined here but these two, and they are hashed. (jit: the price
-- the planner puts on what is switched off makes it compile even a single row's query, for a second.)
create or replace function app.publish_invite_status() returns trigger
language plpgsql security definer
set search_path = app, pg_temp
set enable_nestloop = off
set jit = off
as $$
begin
  insert into tidings.outbox (kind, target, type, event, title, message, data)
  select 'e', side.user_id::text, 'invite_status',
    jsonb_build_object('type', 'invite_status', 'invite', shown.invite),
    case when side.told then 'Invite ' || i.status end,
    case when side.told then case i.status
      when 'expired' then 'Your invite to ' || i.game || ' expired'
      when 'cancelled' then (shown.invite #>> '{sender,username}') || ' cancelled the invite to ' || i.game
      else (shown.invite #>> '{receiver,username}') || ' ' || i.status || ' your invite to ' || i.game end end,
    case when side.told then jsonb_build_object('invite_id', i.id, 'game', i.game, 'status', i.status) end
  from written i
  join replaced o on o.id = i.id and o.status <> i.status
  cross join lateral (select app.invite_json(i) invite offset 0) shown  -- offset: built once, not once per use
  cross join lateral (values (i.sender_id, i.status <> 'cancelled'), (i.receiver_id, i.status = 'cancelled')) side(user_id, told)
  where i.status <> 'pending' order by i.id, side.user_id;
  return null;
end $$;

create or replace trigger publish_invite_status after update on app.invite
  referencing old table as replaced new table as written
  for each statement execute function app.publish_invite_status();
