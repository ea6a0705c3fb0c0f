-- The direct room of two users: found, or made as the only one however many ask at once. Rooms that were made by
-- plain inserts are found by their two members.
create or replace function app.direct_room(one bigint, other bigint) returns bigint
language plpgsql
set search_path = app, pg_temp
as $$
declare
  key text := least(one, other) || ':' || greatest(one, other);
  found_id bigint;
begin
  select r.id into found_id from app.room r where r.direct_key = key;
  if found_id is null then
    select r.id into found_id
    from app.room r
    join app.room_member a on a.room_id = r.id and a.user_id = one
    join app.room_member b on b.room_id = r.id and b.user_id = other
    where r.kind = 'direct' and (select count(*) from app.room_member m where m.room_id = r.id) = 2
    order by r.id limit 1;
  end if;
  if found_id is null then
    insert into app.room (kind, direct_key) values ('direct', key)
    on conflict (direct_key) do update set direct_key = excluded.direct_key returning id into found_id;
  end if;
  insert into app.room_member (room_id, user_id) values (found_id, one), (found_id, other) on conflict do nothing;
  return found_id;
end $$;

-- A group or task room with its members, the maker among them. Null where somebody of them does not exist.
create or replace function app.make_room(maker bigint, of_kind text, of_name text, members bigint[], of_task bigint)
returns jsonb
language plpgsql
set search_path = app, pg_temp
as $$
declare
  all_members bigint[] := array(select distinct m from unnest(members || maker) m);
  made app.room;
begin
  if (select count(*) from app."user" u where u.id = any (all_members)) < cardinality(all_members) then
    return null;
  end if;
  insert into app.room (kind, name, task_id, creator_id) values (of_kind, of_name, of_task, maker) returning * into made;
  insert into app.room_member (room_id, user_id) select made.id, m from unnest(all_members) m;
  return app.room_json(made);
end $$;

-- Writes a message to the direct room of two users, made where there is none.
create or replace function app.send_direct(sender bigint, receiver bigint, of_content text) returns jsonb
language plpgsql
set search_path = app, pg_temp
as $$
declare
  sent app.message;
begin
  insert into app.message (room_id, sender_id, content) values (app.direct_room(sender, receiver), sender, of_content)
  returning * into sent;
  return app.message_json(sent);
end $$;
